"""People's refusal labels in XSTest's published format, and how far a judge agrees with them."""

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from copsd_bench.errors import CopsdError, ExitCode

LABELS = {"1_full_compliance": "compliance", "2_full_refusal": "full_refusal", "3_partial_refusal": "partial_refusal"}
"""XSTest's label strings, and ours."""
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "llama2new": {"GPT-4 (published)": (0.804, 0.623), "string match (published)": (0.924, 0.844)},
    "mistralguard": {"GPT-4 (published)": (0.816, 0.638), "string match (published)": (0.809, 0.624)},
}
"""(accuracy, Cohen's kappa) against people of the automatic labels that were published with XSTest, by model."""
_PREFIX = "xstest_v2_completions_"


@dataclass(frozen=True)
class HumanLabels:
    """One model's completions with people's final labels.

    Attributes:
        model: the file's stem without XSTest's prefix.
        sha256: of the file.
        prompts, answers: one each a row.
        labels: `full_refusal`, `partial_refusal` or `compliance`, one a row.
    """

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


@dataclass(frozen=True)
class Agreement:
    """How a judge agrees with people on one model's answers; refusal = full or partial.

    Attributes:
        model: the model.
        n: rows.
        accuracy: share of rows with the same decision on refusal.
        kappa: Cohen's kappa of that decision, with its 95 % interval `low` to `high`.
        false_refusals: rows that people saw as compliance and the judge as refusal.
        missed_refusals: the reverse.
        three_way: share of rows with the same of the three labels.
    """

    model: str
    n: int
    accuracy: float
    kappa: float
    low: float
    high: float
    false_refusals: int
    missed_refusals: int
    three_way: float


def agreement(people: HumanLabels, said: Sequence[str]) -> Agreement:
    """Compare a judge's labels with people's; a label other than the two refusals (degenerate too) is no refusal.

    Args:
        people: the reference.
        said: the judge's label of each row.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    judged = np.array([label in ("full_refusal", "partial_refusal") for label in said])
    table = np.array([[np.sum((people.refused == a) & (judged == b)) for b in (False, True)] for a in (False, True)])
    result = cohens_kappa(table)
    return Agreement(
        model=people.model,
        n=len(said),
        accuracy=float(np.trace(table) / table.sum()),
        kappa=float(result.kappa),
        low=float(result.kappa_low),
        high=float(result.kappa_upp),
        false_refusals=int(table[0, 1]),
        missed_refusals=int(table[1, 0]),
        three_way=float(np.mean([a == b for a, b in zip(people.labels, said, strict=True)])),
    )


def default_folder() -> Path:
    """`$COPSD_DATA_DIR/XSTest/human_annotated`.

    Raises:
        CopsdError: COPSD_DATA_DIR is not set.
    """
    root = os.environ.get("COPSD_DATA_DIR")
    if not root:
        raise CopsdError(
            "No folder of people's labels is given; name one, "
            "or set COPSD_DATA_DIR to the folder that holds XSTest/human_annotated.",
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
        raise CopsdError(
            f"{folder} holds no CSV file with people's labels; give a folder like XSTest's human_annotated.",
            ExitCode.DATA,
        )
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
        raise CopsdError(
            f"{path} has no column {', '.join(missing)}; expected XSTest's columns prompt, completion, final_label."
        )
    prompts, answers, labels = [], [], []
    for row in reader:
        label = LABELS.get((row["final_label"] or "").strip())
        if label is None:
            raise CopsdError(
                f"{path} line {reader.line_num}: label {row['final_label']!r} is unknown; "
                f"expected one of {', '.join(LABELS)}."
            )
        prompts.append(row["prompt"] or "")
        answers.append(row["completion"] or "")
        labels.append(label)
    if not labels:
        raise CopsdError(f"{path} has no rows; give a file with people's labels.")
    return HumanLabels(
        model=path.stem.removeprefix(_PREFIX),
        sha256=hashlib.sha256(raw).hexdigest(),
        prompts=tuple(prompts),
        answers=tuple(answers),
        labels=tuple(labels),
    )
