"""From Inspect's logs to the record of a run: numbers and ids only."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.scorer import Score

from copsd_bench.benchmarks.collapse.scoring import read_rows
from copsd_bench.benchmarks.panel_scorer import NAME as PANEL
from copsd_bench.benchmarks.task import KEY, MetricSpec, TaskSpec
from copsd_bench.collapse.rows import Rows, Summary
from copsd_bench.collapse.summaries import SUMMARIES
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.judges.alpha import agreement
from copsd_bench.judges.registry import GRADER
from copsd_bench.records import stats
from copsd_bench.records.panel import panel
from copsd_bench.records.paths import published
from copsd_bench.records.schema import (
    IMAGE_SHA256,
    RESPONSE_MODE,
    UNREADABLE,
    Estimate,
    ReferenceInfo,
    SampleRow,
    TaskRecord,
)

SAMPLING = ("max_tokens", "temperature", "top_p", "top_k", "stop_seqs", "seed")
COUNTS = ("output_tokens", "input_tokens")
FLAGS = ("truncated", "loops")
TAGS = ("category", "twin", RESPONSE_MODE, IMAGE_SHA256)
NUMBERS = ("refusal_score", "distinct_1", "distinct_2", "repetition", "mean_entropy", "mean_logprob")


def task_record(
    log: EvalLog,
    seed: int,
    reference: ReferenceInfo | None = None,
    local: bool = False,
    digests: Mapping[str, str] | None = None,
) -> TaskRecord:
    """The record of one finished task.

    Args:
        log: with its samples.
        seed: of the samples' random streams; recorded when the temperature is above 0.
        reference: what a task on rollouts was measured against.
        local: a model on this machine answered, whose images have the task's size; the log of a judgement that came
            later does not say.
        digests: of the models that judged, by role, where they are known; recorded beside the name.

    Raises:
        CopsdError: the task was not built by this project, or a sample has no panel score.
    """
    metadata = (log.eval.metadata or {}).get(KEY)
    if metadata is None:
        raise CopsdError(f"Task {log.eval.task} carries no {KEY!r} metadata; only this project's tasks make records.")
    spec = TaskSpec.model_validate(metadata)
    rows, numbers = _measured(log.samples or [], spec)
    used = len({row.id for row in rows.model})
    models = {role: its.model for role, its in (log.eval.model_roles or {}).items() if hasattr(its, "model")}
    roles = {role: published(str(model)) for role, model in models.items()}
    roles |= {role: f"{roles[role]}@{digest[:12]}" for role, digest in (digests or {}).items() if role in roles}
    return TaskRecord(
        name=log.eval.task.removeprefix("copsd_bench/"),
        version=str(log.eval.task_version),
        dataset=spec.dataset.model_copy(update={"used": used}),
        generation=_generation(log, seed, spec, local),
        judges={score: roles.get(judge, judge) for score, judge in spec.judges.items()},
        metrics=numbers.metrics,
        panel=panel(rows.model),
        primary=spec.primary,
        lower_is_better=spec.lower_is_better or [metric.name for metric in spec.metrics if metric.lower_is_better],
        undirected=[metric.name for metric in spec.metrics if metric.undirected],
        seconds=seconds_under_way(log),
        samples=list(rows.model),
        reference=reference if spec.reference else None,
        reference_samples=list(rows.reference),
        series=numbers.series,
        notes=[*spec.notes, *numbers.notes, *_unreadable(rows.model), *_silence(spec, numbers.metrics)],
    )


def _silence(spec: TaskSpec, metrics: Mapping[str, Estimate]) -> list[str]:
    """A sentence where a model was to judge and no answer got a verdict: the number is missing for that reason."""
    silent = [name for name, found in metrics.items() if found.n == 0 and found.n_unscored]
    if not silent or not any(judge.startswith(GRADER) for judge in spec.judges.values()):
        return []
    return [
        f"unscored: no verdict; the judge gave none on any answer ({silent[0]} is missing), so choose one that keeps "
        "to its format"
    ]


def _measured(samples: Sequence[EvalSample], spec: TaskSpec) -> tuple[Rows, Summary]:
    """A task's rows, and the numbers made of them."""
    if not spec.summary:
        rows = [sample_row(sample, spec) for sample in samples]
        metrics = {metric.name: metric_estimate(metric, rows) for metric in spec.metrics}
        # A limit may leave a category without an item.
        empty = {m.name for m in spec.metrics if m.tags and not metrics[m.name].n + metrics[m.name].n_unscored}
        metrics = {name: estimate for name, estimate in metrics.items() if name not in empty}
        if spec.agreement:
            ratings = [[row.scores.get(score) for row in rows] for score in spec.agreement]
            metrics["agreement"] = agreement(ratings, [row.cluster for row in rows])
        return Rows(rows), Summary(metrics)
    # A task on rollouts has one scorer, and its score holds the rows.
    measured = read_rows((str(sample.id), score) for sample in samples for score in (sample.scores or {}).values())
    return measured, SUMMARIES[spec.summary](measured)


def sample_row(sample: EvalSample, spec: TaskSpec) -> SampleRow:
    """One sample as numbers.

    Raises:
        CopsdError: the panel score is missing.
    """
    scores = dict(sample.scores or {})
    measured = scores.pop(PANEL, None)
    if measured is None:
        raise CopsdError(f"Sample {sample.id} was not scored by the panel; run the same command again.", ExitCode.RUN)
    wanted = {name for metric in spec.metrics for name in (metric.score, metric.weight) if name}
    named: dict[str, float | None] = {}
    for scorer, score in scores.items():
        parts = score.value.items() if isinstance(score.value, dict) else [(scorer, score.value)]
        named |= {spec.names.get(part, part): _number(value) for part, value in parts}
    return SampleRow(
        id=str(sample.id),
        epoch=sample.epoch,
        group=sample.metadata["group"],
        # An unscored dict score is a single NaN without its parts: every wanted name is there, if only as unscored.
        scores={name: named.get(name) for name in sorted(wanted)},
        tags={k: str(sample.metadata[k]) for k in TAGS if k in sample.metadata} | sample.metadata.get("tags", {}),
        **_panel_values(measured),
    )


def _panel_values(score: Score) -> dict[str, Any]:
    values = {name: _number(value) for name, value in score.as_dict().items()}
    known = {name: value for name, value in values.items() if value is not None}
    return {
        **{name: int(known[name]) for name in COUNTS if name in known},
        **{name: bool(known[name]) for name in FLAGS if name in known},
        **{name: known[name] for name in NUMBERS if name in known},
        **(score.metadata or {}),
    }


def metric_estimate(metric: MetricSpec, rows: Sequence[SampleRow]) -> Estimate:
    """A benchmark's number with its 95 % interval; samples it does not cover are not counted.

    Where every value is 0 or 1, or all are the same share (nothing but ties), it is a rate, and otherwise the mean of
    graded values: of a judge that says one thing of all answers, Student's interval would claim certainty.
    """
    chosen = [
        row
        for row in rows
        if (metric.groups is None or row.group in metric.groups)
        and all(row.tags.get(tag) == value for tag, value in metric.tags.items())
    ]
    values: list[stats.Value] = [row.scores.get(metric.score) for row in chosen]
    clusters = [row.cluster for row in chosen]
    if metric.weight is not None:
        weights = [row.scores.get(metric.weight) for row in chosen]
        return stats.weighted_mean(values, weights, clusters, metric.unit)
    if metric.majority:
        scored = stats.by_id(values, [row.id for row in chosen])
        values, clusters = (
            [sum(x) > len(x) / 2 if x else None for x in scored.values()],
            list({row.id: row.cluster for row in chosen}.values()),
        )
    seen = {value for value in values if value is not None}
    if seen <= {0, 1} or (len(seen) == 1 and 0 < min(seen) < 1):
        return stats.rate(values, clusters).model_copy(update={"unit": metric.unit})
    return stats.mean(values, clusters, metric.unit)


def _number(value: Any) -> float | None:
    """A score as a number: `C` is 1, `I` and `N` are 0, `P` is a half; NaN is unscored."""
    letters = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
    if isinstance(value, str):
        return letters.get(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return float(value)


def _unreadable(rows: Sequence[SampleRow]) -> list[str]:
    """A sentence on prompts that were to be rewritten, but were answered as they are."""
    modes = [row.tags[RESPONSE_MODE] for row in rows if RESPONSE_MODE in row.tags]
    return [f"{modes.count(UNREADABLE)} of {len(modes)} prompts had no readable rewrite"] if UNREADABLE in modes else []


def _generation(log: EvalLog, seed: int, spec: TaskSpec, local: bool) -> dict[str, Any]:
    config = log.plan.config.model_dump(exclude_none=True)
    settings = {name: config[name] for name in SAMPLING if name in config and name != "seed"}
    if spec.pixels is not None and local:
        settings["pixels"] = list(spec.pixels)
    if settings.get("temperature"):
        settings["seed"] = seed
    settings |= {"rollouts": spec.rollouts} if spec.summary else {}
    return settings | ({"respond": spec.respond} if spec.respond else {})


def seconds_under_way(log: EvalLog) -> float:
    """Wall-clock seconds in which samples were under way; pauses before a continuation are not counted."""
    samples = log.samples or []
    spans = sorted(
        (sample.started_at, sample.completed_at) for sample in samples if sample.started_at and sample.completed_at
    )
    total, reached = 0.0, -math.inf
    for started, completed in ((_timestamp(a), _timestamp(b)) for a, b in spans):
        total += max(0.0, completed - max(started, reached))
        reached = max(reached, completed)
    return float(np.round(total, 3))


def _timestamp(value: Any) -> float:
    from datetime import datetime

    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value.timestamp())
