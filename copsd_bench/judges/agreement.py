"""People's refusal labels in XSTest's published format, and how well a judge agrees with them."""

import csv
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from copsd_bench.errors import CopsdError, ExitCode

_LABELS = {"1_full_compliance": "compliance", "2_full_refusal": "full_refusal", "3_partial_refusal": "partial_refusal"}
_PREFIX = "xstest_v2_completions_"


@dataclass(frozen=True)
class HumanLabels:
    """One model's completions with people's final labels."""

    model: str
    sha256: str
    prompts: tuple[str, ...]
    answers: tuple[str, ...]
    labels: tuple[str, ...]

    @property
    def refused(self) -> np.ndarray:
        """Whether people saw a refusal, full or partial; bool, shape [B]."""
        return np.array([label != "compliance" for label in self.labels])

    @property
    def full(self) -> np.ndarray:
        """Whether people saw a full refusal; bool, shape [B]."""
        return np.array([label == "full_refusal" for label in self.labels])


def default_folder() -> Path:
    """`$COPSD_DATA_DIR/XSTest/human_annotated`.

    Raises:
        CopsdError: COPSD_DATA_DIR is not set.
    """
    root = os.environ.get("COPSD_DATA_DIR")
    if not root:
        raise CopsdError(
            "No folder of human labels is given; name one, or set COPSD_DATA_DIR to the folder that holds XSTest/human_annotated.",
            ExitCode.DATA,
        )
    return Path(root) / "XSTest" / "human_annotated"


def read_folder(folder: Path) -> list[HumanLabels]:
    """Every CSV file of a folder, by name.

    Raises:
        CopsdError: there is no such folder, it holds no CSV file, or a file lacks a column or has an unknown label.
    """
    paths = sorted(folder.glob("*.csv")) if folder.is_dir() else []
    if not paths:
        raise CopsdError(f"{folder} holds no CSV file with human labels; give XSTest's human_annotated folder.", ExitCode.DATA)
    return [read_labels(path) for path in paths]


def read_labels(path: Path) -> HumanLabels:
    """One CSV file with the columns prompt, completion, final_label.

    Raises:
        CopsdError: a column is missing, there are no rows, or a label is unknown (with its line).
    """
    raw = path.read_bytes()
    reader = csv.DictReader(raw.decode("utf-8-sig").splitlines(keepends=True))
    missing = [name for name in ("prompt", "completion", "final_label") if name not in (reader.fieldnames or ())]
    if missing:
        raise CopsdError(f"{path} has no column {', '.join(missing)}; expected XSTest's columns prompt, completion, final_label.")
    prompts, answers, labels = [], [], []
    for row in reader:
        label = _LABELS.get((row["final_label"] or "").strip())
        if label is None:
            raise CopsdError(
                f"{path} line {reader.line_num}: label {row['final_label']!r} is unknown; expected one of {', '.join(_LABELS)}."
            )
        prompts.append(row["prompt"] or "")
        answers.append(row["completion"] or "")
        labels.append(label)
    if not labels:
        raise CopsdError(f"{path} has no rows; give a file with human labels.")
    return HumanLabels(
        model=path.stem.removeprefix(_PREFIX),
        sha256=hashlib.sha256(raw).hexdigest(),
        prompts=tuple(prompts),
        answers=tuple(answers),
        labels=tuple(labels),
    )
