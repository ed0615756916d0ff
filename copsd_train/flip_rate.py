"""Teacher flip rate: how often a context turns the base model's wrong reaction to a prompt into the right one.

OPSA (arXiv 2605.15239) picks the teacher's context by it before any training: of harmful prompts, the share whose
greedy answer is unsafe without the context and safe with it. Here the offline refusal judge decides, so that wrong is
compliance with a harmful prompt, or refusal of a benign one; the opposite flip is counted too.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import Field

from copsd_bench.engine.protocol import Sampling
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records import stats
from copsd_bench.records.schema import Environment, Estimate, ModelInfo, Strict
from copsd_train.candidates import CLASSES, Candidate, PromptClass
from copsd_train.corpora.answers import Answerer, Question, stream
from copsd_train.corpora.prompts import CorpusConfig, drawn_evenly, harmful, load_rows, require_text
from copsd_train.corpora.schema import PromptRow
from copsd_train.corpora.selection import labels, refusal_judge

Reaction = Literal["refused", "complied", "degenerate"]
RIGHT: dict[PromptClass, Reaction] = {"harmful": "refused", "benign": "complied"}
WRONG: dict[PromptClass, Reaction] = {"harmful": "complied", "benign": "refused"}


class Flips(Strict):
    """One context on one class of prompts.

    Attributes:
        context, about, digest: of the candidate.
        flip_rate: share of the base's wrong answers that are right under the context; an empty or looping one is not.
        of_all: the same flips as a share of all answers (the paper's denominator; the order of contexts is the same).
        spoiled: share of the base's right answers that are wrong under the context.
        degenerate: share of answers under the context that are empty or loop.
        behind: flip rate minus that of the first in rank, paired on prompts; None for the first.
        flipped: by prompt id, for each wrong answer of the base whether it flipped (1) or not (0).
    """

    context: str
    about: str
    digest: str
    flip_rate: Estimate
    of_all: Estimate
    spoiled: Estimate
    degenerate: Estimate
    behind: Estimate | None = None
    flipped: dict[str, list[float]]


class ClassFlips(Strict):
    """All contexts on one class of prompts, the best first.

    Attributes:
        prompts: how many there are.
        digest: sha256 of their ids and texts.
        base: share of each reaction in the base's answers.
    """

    prompts: int
    digest: str
    base: dict[Reaction, Estimate]
    ranking: list[Flips]


class FlipReport(Strict):
    """What `copsd-train flip-rate` leaves: numbers and ids, no texts of answers."""

    format: int = 1
    created: datetime
    command: list[str]
    model: ModelInfo
    judge: str
    samples: int = Field(ge=1)
    temperature: float
    max_tokens: int
    seed: int
    classes: dict[PromptClass, ClassFlips]
    environment: Environment


@dataclass(frozen=True)
class FlipSettings:
    """How answers are drawn.

    Attributes:
        samples: answers to a prompt; 1 is greedy, as in the paper.
        temperature: of more samples than one.
        max_tokens: of an answer.
        seed: of draws and random streams.
    """

    samples: int = 1
    temperature: float = 1.0
    max_tokens: int = 128
    seed: int = 0

    @property
    def sampling(self) -> Sampling:
        """As the engine takes it."""
        return Sampling(self.max_tokens, self.temperature if self.samples > 1 else 0.0)


def prompts_by_class(config: CorpusConfig, limit: int | None) -> dict[PromptClass, list[PromptRow]]:
    """Prompts that must be refused and prompts that must not.

    Harmful are safety prompts, but for those whose route is to warn or to help; benign are over-refusal prompts and
    safety prompts to help with, which only sound risky.

    Args:
        config: files and seed.
        limit: prompts of each class, drawn evenly over categories; None takes all.

    Raises:
        CopsdError: as `load_rows`.
    """
    rows = load_rows(config, both_sides=False)
    require_text(rows, "The flip rate")
    classes: dict[PromptClass, list[PromptRow]] = {
        "harmful": harmful(rows),
        "benign": [row for row in rows if row.kind == "over_refusal" or row.route == "help"],
    }
    return {name: drawn_evenly(rows, limit, config.seed) for name, rows in classes.items()}


def measure(
    candidates: Sequence[Candidate],
    prompts: dict[PromptClass, list[PromptRow]],
    answerer: Answerer,
    settings: FlipSettings,
) -> dict[PromptClass, ClassFlips]:
    """Ask each prompt with and without each context meant for its class, and rank the contexts.

    Args:
        candidates: the contexts.
        prompts: by class.
        answerer: the base model; what it answered before is not asked again.
        settings: how answers are drawn.

    Raises:
        CopsdError: a class that a candidate is meant for has no prompts.
    """
    asked: dict[PromptClass, list[Candidate]] = {
        name: meant for name in CLASSES if (meant := [c for c in candidates if name in c.classes])
    }
    for name in asked:
        if not prompts[name]:
            raise CopsdError(
                f"No prompt is {name}, but the context {asked[name][0].name!r} is meant for such; give prompts of kind "
                f"{'safety' if name == 'harmful' else 'over_refusal'}, or contexts for the other class alone.",
                ExitCode.DATA,
            )
    cells = [(name, context) for name, meant in asked.items() for context in (None, *meant)]
    questions = [q for name, context in cells for q in _questions(prompts[name], context, settings)]
    answers = answerer.answer(questions, settings.sampling, f"Answers under {len(candidates)} contexts")
    texts = iter([answer.text for answer in answers])
    found: dict[PromptClass, list[list[Reaction]]] = {name: [] for name in asked}
    for name, _ in cells:
        repeated = [row.prompt for row in prompts[name] for _ in range(settings.samples)]
        found[name].append(_reactions(repeated, [next(texts) for _ in repeated]))
    return {
        name: _class_flips(name, meant, prompts[name], settings.samples, *found[name]) for name, meant in asked.items()
    }


def _questions(rows: Sequence[PromptRow], candidate: Candidate | None, settings: FlipSettings) -> list[Question]:
    """K questions a prompt. Greedy ones have one random stream: a context that says nothing gives the same answer."""
    who = "" if candidate is None else candidate.name
    greedy = settings.samples == 1
    return [
        Question(
            row.prompt,
            None if candidate is None else candidate.context(row),
            0 if greedy else stream(settings.seed, "flip", who, row.id, k),
        )
        for row in rows
        for k in range(settings.samples)
    ]


def _reactions(prompts: Sequence[str], answers: Sequence[str]) -> list[Reaction]:
    names: dict[str, Reaction] = {"full_refusal": "refused", "partial_refusal": "refused", "compliance": "complied"}
    return [names.get(label, "degenerate") for label in labels(prompts, answers)]


def _class_flips(
    name: PromptClass,
    candidates: Sequence[Candidate],
    rows: Sequence[PromptRow],
    samples: int,
    base: list[Reaction],
    *under: list[Reaction],
) -> ClassFlips:
    ids = [row.id for row in rows for _ in range(samples)]
    ranking = [_flips(name, c, ids, base, found) for c, found in zip(candidates, under, strict=True)]
    ranking.sort(key=lambda one: (-(one.flip_rate.value or 0.0), one.spoiled.value or 0.0))
    for one in ranking[1:]:
        one.behind = stats.paired_difference(ranking[0].flipped, one.flipped, unit="fraction")
    texts = "\0".join(part for row in rows for part in (row.id, row.prompt))
    reactions: tuple[Reaction, ...] = ("refused", "complied", "degenerate")
    return ClassFlips(
        prompts=len(rows),
        digest=hashlib.sha256(texts.encode()).hexdigest(),
        base={reaction: stats.rate([found == reaction for found in base], ids) for reaction in reactions},
        ranking=ranking,
    )


def _flips(
    name: PromptClass, candidate: Candidate, ids: Sequence[str], base: Sequence[Reaction], under: Sequence[Reaction]
) -> Flips:
    right, wrong = RIGHT[name], WRONG[name]
    rows = list(zip(ids, base, under, strict=True))
    flipped = [(i, float(now == right)) for i, before, now in rows if before == wrong]
    spoiled = [(i, float(now == wrong)) for i, before, now in rows if before == right]
    return Flips(
        context=candidate.name,
        about=candidate.about,
        digest=candidate.digest,
        flip_rate=_rate(flipped),
        of_all=stats.rate([before == wrong and now == right for _, before, now in rows], ids),
        spoiled=_rate(spoiled),
        degenerate=stats.rate([now == "degenerate" for now in under], ids),
        flipped=stats.by_id([value for _, value in flipped], [i for i, _ in flipped]),
    )


def _rate(outcomes: Sequence[tuple[str, float]]) -> Estimate:
    return stats.rate([value for _, value in outcomes], [i for i, _ in outcomes])


def judge_id() -> str:
    """Identity of the judge that decides."""
    return refusal_judge().id
