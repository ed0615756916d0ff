"""What lies in a run folder (the list is in `run.py`), read without any model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copsd_bench.errors import CopsdError
from copsd_train.recipe import Recipe

FORMAT = 1
"""Of run.json."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved moment of a stage: `step` steps are done."""

    stage: str
    step: int
    folder: Path


class RunFolder:
    """What lies in a run folder.

    Args:
        folder: of the run.
        recipe: resolved.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.recipe = recipe

    def output(self, stage: str) -> Path:
        """What a stage leaves, there once it is finished."""
        if stage == "corpus":
            return self.folder / "corpus" / "sft.jsonl"
        if stage == "steering":
            return self.folder / "steering"
        if stage != "sft" or self.recipe.sft is None:
            return self.folder / "student"
        return self.folder / ("sft" if self.student_start == self.folder / "sft" else self.recipe.sft.adapter)

    @property
    def student_start(self) -> Path | None:
        """Where the student of the last stage begins: what sft left of it, or None for the base model."""
        sft = self.recipe.sft
        begun = sft is not None and sft.adapter == "student" and self.recipe.stages[-1] != "sft"
        return self.folder / "sft" if begun else None

    def finished(self, stage: str) -> bool:
        """Whether a stage is done."""
        return self.output(stage).exists()

    def checkpoints(self, stage: str) -> list[Checkpoint]:
        """Checkpoints of a stage, oldest first."""
        found = (self.folder / "checkpoints").glob(f"{stage}-[0-9]*")
        return sorted((Checkpoint(stage, int(p.name.rpartition("-")[2]), p) for p in found), key=lambda c: c.step)


def read_info(folder: Path) -> dict[str, Any]:
    """run.json of a run folder.

    Raises:
        CopsdError: there is no run, or one of another version of this program.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise CopsdError(f"{folder} holds no run: it has no run.json; give the folder of `copsd-train run --out`.")
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CopsdError(f"{path} is not valid JSON ({error}); it was altered: start a new run.") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise CopsdError(f"{path} is of another version of copsd-train; start a new run.")
    return info


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a jsonl file up to the first that is none, as a last line cut by a kill; a missing file has none."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows
