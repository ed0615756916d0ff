"""Which prompts a corpus is made of, and all stages of a recipe use."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.corpora.overlap import refuse_overlap
from copsd_train.corpora.schema import Kind, PromptRow, read_prompts, require_both_sides, seed_prompts


class CorpusConfig(BaseModel):
    """What every builder of a corpus needs to know; each adds its own `kind` and settings.

    Attributes:
        prompts: files of prompts (`PromptRow`); none takes the corpora written for this project.
        rows: at most this many rows of a kind, drawn evenly over categories and routes.
        seed: of draws and random streams.
        allow_overlap: train on evaluation items if asked to.
        sees_images: whether the builder shows the model the image of a prompt; else such prompts are refused.
        writes_pairs: whether the builder also leaves pairs for preference training (`pairs_beside`).
        one_sided: why nothing but prompts to refuse is trained on; None asks for prompts to answer too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    sees_images: ClassVar[bool] = True
    writes_pairs: ClassVar[bool] = False
    prompts: list[Path] = []
    rows: dict[Kind, Annotated[int, Field(ge=0)]] = {}
    seed: int = 0
    allow_overlap: bool = False
    one_sided: str | None = None


def load_rows(config: CorpusConfig, both_sides: bool = True) -> list[PromptRow]:
    """The prompts that a configuration names, checked and drawn.

    Args:
        config: which ones.
        both_sides: what is trained on them needs prompts to refuse and others, unless the configuration says why not.

    Raises:
        CopsdError: a bad file, an id in two files, one side only, an overlap with a benchmark, or images for a builder
            that shows none.
    """
    what = f"The corpus of {', '.join(map(str, config.prompts)) or 'packaged prompts'}"
    both_sides = both_sides and config.one_sided is None
    if not config.prompts:
        rows = seed_prompts()  # a test of this project holds them against every benchmark
    else:
        rows = [row for path in config.prompts for row in read_prompts(path)]
        for name, count in Counter(row.id for row in rows).items():
            if count > 1:
                raise CopsdError(f"{what} holds the id {name!r} in two files; make ids unique.", ExitCode.DATA)
        if both_sides:
            require_both_sides(rows, what)
        if not config.sees_images:
            require_text(rows, "This kind of corpus")
        if not config.allow_overlap:
            refuse_overlap([row.prompt for row in rows], what)
    drawn = draw_rows(rows, config)
    if both_sides:
        require_both_sides(drawn, f"{what}, drawn as `rows` says,")
    return drawn


def draw_rows(rows: Sequence[PromptRow], config: CorpusConfig) -> list[PromptRow]:
    """Of all rows of a corpus, those that a configuration takes.

    Raises:
        CopsdError: there is none to refuse, but nothing else is to be taken.
    """
    if config.one_sided is not None:
        rows = harmful(rows)
        if not rows:
            raise CopsdError("The corpus has no prompt to refuse (kind safety), but one_sided is set.", ExitCode.DATA)
    kinds: tuple[Kind, ...] = ("safety", "over_refusal", "general")
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in kinds}
    return [row for kind in kinds for row in drawn_evenly(by_kind[kind], config.rows.get(kind), config.seed)]


def require_text(rows: Sequence[PromptRow], what: str) -> None:
    """Refuse prompts with an image where it would not be seen: a question about it must not be asked without it.

    Raises:
        CopsdError: a prompt has one.
    """
    seen = next((row.id for row in rows if row.image), None)
    if seen is not None:
        raise CopsdError(f"{what} takes text prompts only, but {seen!r} has an image; take such out.", ExitCode.DATA)


def harmful(rows: Sequence[PromptRow]) -> list[PromptRow]:
    """Safety prompts that are to be refused, as far as their route is known."""
    return [row for row in rows if row.kind == "safety" and row.route in (None, "refuse")]


def drawn_evenly(rows: Sequence[PromptRow], most: int | None, seed: int) -> list[PromptRow]:
    """At most so many of the rows (None: all), as evenly over categories and routes as they allow."""
    strata: dict[tuple[str, str | None], list[PromptRow]] = defaultdict(list)
    for row in rows:
        strata[row.category, row.route].append(row)
    ranked = []
    for name, members in sorted(strata.items(), key=str):
        random.Random(f"{seed}:{name}").shuffle(members)
        ranked += list(enumerate(members))
    ranked.sort(key=lambda pair: pair[0])
    return [row for _, row in ranked[:most]]
