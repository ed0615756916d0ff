"""From the rollouts of a sample to rows of numbers: what every scorer of the suite `collapse` returns.

The rows lie in the score's metadata. The record is built from them, and so are the numbers Inspect shows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Score, Value, metric
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.answer import Answer, panel_values, request_of
from copsd_bench.benchmarks.collapse.rollouts import read_rollouts
from copsd_bench.collapse.rows import Rows
from copsd_bench.collapse.summaries import SUMMARIES
from copsd_bench.judges.registry import get_judge
from copsd_bench.records.schema import SampleRow

Scores = Mapping[str, float | None]
"""A rollout's scores by name; None is unscored."""
TAGS = ("category", "twin")


def rollout_score(
    state: TaskState,
    model: Sequence[Scores] | None = None,
    reference: Sequence[Scores] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Score:
    """The score of one sample: the panel of every rollout of both sides, with a task's own scores.

    Args:
        state: after the solver `rollouts`.
        model, reference: the task's scores of each rollout; None where the panel says it all.
        details: what rows do not hold (JSON), for the task's summary.
    """
    pair = read_rollouts(state)
    sides = {
        "model": _rows(state, pair.model, model),
        "reference": _rows(state, pair.reference, reference),
    }
    value = {
        f"{prefix}{name}": mean
        for prefix, rows in (("", sides["model"]), ("reference_", sides["reference"]))
        for name, mean in _means(rows).items()
    }
    rows = {side: [row.model_dump(mode="json", exclude_defaults=True) for row in rows] for side, rows in sides.items()}
    return Score(value=value, metadata={**rows, "details": dict(details or {})})


def read_rows(scores: Iterable[tuple[str, Score]]) -> Rows:
    """The rows of all samples.

    Args:
        scores: sample ids and what `rollout_score` gave them.
    """
    model: list[SampleRow] = []
    reference: list[SampleRow] = []
    details: dict[str, Mapping[str, Any]] = {}
    for sample, score in scores:
        metadata = score.metadata or {}
        model += [SampleRow.model_validate(row) for row in metadata["model"]]
        reference += [SampleRow.model_validate(row) for row in metadata["reference"]]
        details[sample] = metadata["details"]
    return Rows(model, reference, details)


@metric
def summary(name: str) -> Metric:
    """A task's numbers over all samples, for Inspect's own display.

    Args:
        name: a key of `SUMMARIES`.
    """

    def compute(scores: list[SampleScore]) -> Value:
        found = SUMMARIES[name](read_rows((str(score.sample_id), score.score) for score in scores))
        return {key: math.nan if e.value is None else e.value for key, e in found.metrics.items()}

    return compute


def _rows(state: TaskState, answers: Sequence[Answer], scores: Sequence[Scores] | None) -> list[SampleRow]:
    verdicts = get_judge("refusal").batch([request_of(state)] * len(answers), [answer.text for answer in answers])
    return [
        SampleRow(
            id=str(state.sample_id),
            epoch=rollout,
            group=state.metadata["group"],
            scores=dict(scores[rollout - 1]) if scores is not None else {},
            tags={name: str(state.metadata[name]) for name in TAGS if name in state.metadata},
            **panel_values(answer, verdict),
        )
        for rollout, (answer, verdict) in enumerate(zip(answers, verdicts, strict=True), start=1)
    ]


def _means(rows: Sequence[SampleRow]) -> dict[str, float]:
    """Mean tokens and mean of each score over a prompt's rollouts; NaN where none is scored."""
    names = dict.fromkeys(name for row in rows for name in row.scores)
    columns: dict[str, list[float | None]] = {name: [row.scores[name] for row in rows] for name in names}
    columns["tokens"] = [row.output_tokens for row in rows]
    scored = {name: [x for x in column if x is not None] for name, column in columns.items()}
    return {name: sum(x) / len(x) if x else math.nan for name, x in scored.items()}
