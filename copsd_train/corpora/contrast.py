"""Harmful and harmless prompts that a direction is made of, and others that choose it; never an evaluation item."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.corpora.overlap import without_overlap
from copsd_train.corpora.prompts import harmful
from copsd_train.corpora.schema import SEED, PromptRow, read_prompts, seed_prompts

Side = Literal["harmful", "harmless"]
SIDES: tuple[Side, ...] = ("harmful", "harmless")


@dataclass(frozen=True)
class Drawn:
    """Prompts of one side.

    Attributes:
        train: make directions.
        validation: choose among them.
        given: how many there were to draw from, overlapping ones included.
        overlapping: how many of those were left out because a benchmark on this machine has them too.
    """

    train: list[str]
    validation: list[str]
    given: int
    overlapping: int


def draw_contrast(
    files: Sequence[str], train: int, validation: int, trained: set[str], seed: int, allow_overlap: bool = False
) -> dict[Side, Drawn]:
    """Both sides, drawn at random: kind `safety` (with a route: to be refused) is harmful, kind `general` harmless.

    Args:
        files: of PromptRow; none takes the packaged prompts, which a test of this project holds against all benchmarks.
        train, validation: prompts a side, the former at most.
        trained: prompts that a model is trained on: the last to be taken for validation.
        seed: of the draw.
        allow_overlap: keep what overlaps a benchmark.

    Raises:
        CopsdError: a bad file, or too few prompts of a side.
    """
    if files:
        given = [row for name in files for row in read_prompts(Path(name))]
        rows, found = (given, []) if allow_overlap else without_overlap(given)
    else:
        given = rows = [*read_prompts(SEED / "harmful.jsonl"), *seed_prompts(["general"])]
        found = []
    overlapping = {overlap.prompt for overlap in found}
    drawn: dict[Side, Drawn] = {}
    for side in SIDES:
        all_, left = ([row.prompt for row in _of(side, part)] for part in (given, rows))
        removed = sum(prompt in overlapping for prompt in all_)
        if len(left) < validation + 2:
            raise CopsdError(
                f"A direction needs {validation} {side} prompts for validation and two more, but {len(left)} are there "
                f"({removed} overlap a benchmark); give more files in steering.prompts, or lower steering.validation.",
                ExitCode.DATA,
            )
        random.Random(f"{seed}:{side}").shuffle(left)
        left.sort(key=lambda prompt: prompt in trained)
        drawn[side] = Drawn(left[validation:][:train], left[:validation], len(all_), removed)
    return drawn


def _of(side: Side, rows: Sequence[PromptRow]) -> list[PromptRow]:
    return harmful(rows) if side == "harmful" else [row for row in rows if row.kind == "general"]
