"""How one number of a task changed between two runs: paired on sample ids, with its uncertainty."""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Literal, Protocol

import numpy as np

from copsd_bench.records import stats
from copsd_bench.records.panel import STATISTICS, Statistic
from copsd_bench.records.schema import Estimate, SampleRow, Strict, TaskRecord

Kind = Literal["difference", "ratio", "level"]
PANEL_CHANGES: dict[str, Kind] = {
    "tokens_median": "ratio",
    "tokens_mean": "ratio",
    "truncated": "difference",
    "refusal": "difference",
    "full_refusal": "difference",
    "compliance": "difference",
    "degenerate": "difference",
    "loops": "difference",
    "distinct_1": "difference",
    "distinct_2": "difference",
    "repetition": "difference",
    "entropy": "ratio",
    "logprob": "difference",
}
"""Panel statistics that are compared, and how. Lengths as `other / base` of medians and of means (where many answers
run into the token limit the median stands still, and the mean is the one that moves); entropy as the contraction
`exp(H_other - H_base)`, the ratio of effective choices per token; everything else as `other - base`."""

ROW_SCORES: dict[str, Statistic] = {
    "jaccard": Statistic("jaccard", "Jaccard", "mean", "score", lambda row: row.scores.get("jaccard"))
}
"""Scores of single answers that change as a panel statistic does: the overlap of an answer with the context."""

UNPAIRED = "unpaired"
"""Method of the plain difference of a metric that cannot be paired on items."""

LEVELS = ("length_ratio", "contraction", "diversity_ratio", "dropped_mass", "mode_seeking", "win_rate")
"""Metrics of a task that already relate the model to its reference: their value is the change."""


class Sampled(Protocol):
    """Anything that holds answers as rows: a task's record, or what a training loop has in memory."""

    @property
    def samples(self) -> Sequence[SampleRow]: ...


class Change(Strict):
    """A change of one number on the items scored in both runs.

    Attributes:
        statistic: a panel statistic, or a task's own score or metric.
        group: prompt class, `""` for all.
        kind: what `change` holds: `other - base`, `other / base`, or the `level` of a metric that relates both itself.
        base, other: the two values on the paired items.
        change: the difference or ratio with its 95 % interval.
        items: paired items; of a level, the prompts (clusters of rollouts) it rests on.
        answers: scored answers to the paired items on the side that has fewer (items times rollouts).
        lost: items scored in the base but not in the other run; of a level, those without a verdict.
        p, test: p-value of "no difference" and its test (scores only).
        p_holm: `p` adjusted over the primary scores of all tasks.
    """

    statistic: str
    group: str = ""
    kind: Kind
    base: float | None
    other: float | None
    change: Estimate
    items: int = 0
    answers: int = 0
    lost: int = 0
    p: float | None = None
    test: str = ""
    p_holm: float | None = None

    @property
    def unpaired(self) -> bool:
        """Whether it is the plain difference of a metric that cannot be paired on items."""
        return self.change.method == UNPAIRED


def panel_change(base: Sampled, other: Sampled, statistic: str, group: str = "") -> Change:
    """Change of a panel statistic (a key of `PANEL_CHANGES`) or of a score of single answers (of `ROW_SCORES`)."""
    found = STATISTICS.get(statistic) or ROW_SCORES[statistic]
    x, y, clusters = _paired(base, other, found.value, group)
    summary = np.median if found.summary == "median" else np.mean
    if statistic.startswith("tokens"):
        of: Literal["mean", "median"] = "median" if found.summary == "median" else "mean"
        estimate = stats.paired_ratio(x, y, of, clusters)
    else:
        estimate = stats.paired_difference(x, y, found.unit, clusters)
    if statistic == "entropy":
        estimate = _exponential(estimate)
    return Change(
        statistic=statistic,
        group=group,
        kind=PANEL_CHANGES.get(statistic, "difference"),
        base=_value(x, y, summary),
        other=_value(y, x, summary),
        change=estimate,
        items=estimate.n,
        answers=_answers(x, y),
        lost=sum(bool(values) and not y.get(item) for item, values in x.items()),
    )


def score_change(base: TaskRecord, other: TaskRecord, metric: str) -> Change:
    """Change of a task's metric `<score>` or `<score>/<group>`, tested on the samples' scores of that name.

    A metric that is no score of the samples cannot be paired: it gets its plain difference, no interval and no test.
    """
    score, _, group = metric.partition("/")
    unit = base.metrics[metric].unit
    x, y, clusters = _paired(base, other, lambda row: row.scores.get(score), group)
    if not any(x.values()):
        a, b = base.metrics[metric].value, other.metrics[metric].value if metric in other.metrics else None
        difference = None if a is None or b is None else b - a
        plain = Estimate(value=difference, n=0, method=UNPAIRED, unit=unit)
        return Change(statistic=score, group=group, kind="difference", base=a, other=b, change=plain)
    p, test = stats.paired_p(x, y, clusters)
    estimate = stats.paired_difference(x, y, unit, clusters)
    return Change(
        statistic=score,
        group=group,
        kind="difference",
        base=_value(x, y, np.mean),
        other=_value(y, x, np.mean),
        change=estimate,
        items=estimate.n,
        answers=_answers(x, y),
        lost=sum(bool(values) and not y.get(item) for item, values in x.items()),
        p=p,
        test=test,
    )


def level(metrics: Mapping[str, Estimate], samples: Sequence[SampleRow], metric: str, group: str = "") -> Change | None:
    """A metric of `LEVELS`, by prompt class, as the change it stands for; None where the task does not have it.

    Some count rollouts and some prompts in their `n`; `samples`, the rows it was made of, say how many prompts it is.
    """
    estimate = metrics.get(f"{metric}/{group}" if group else metric)
    if estimate is None:
        return None
    return Change(
        statistic=metric,
        group=group,
        kind="level",
        base=None,
        other=estimate.value,
        change=estimate,
        items=min(estimate.n, _prompts(samples, metric, group)),
        answers=estimate.n,
        # A judge that never gave a verdict hides a win rate; what no engine could measure was never asked for.
        lost=estimate.n_unscored if estimate.n or metric == "win_rate" else 0,
    )


def _prompts(samples: Sequence[SampleRow], metric: str, group: str) -> int:
    """Clusters of the rows of a prompt class, without those where a score of the metric's name is unscored."""
    rows = (row for row in samples if not group or row.group == group)
    return len({row.cluster for row in rows if row.scores.get(metric, 0.0) is not None})


def _paired(
    base: Sampled, other: Sampled, value: Callable[[SampleRow], stats.Value], group: str
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, str]]:
    """Values by item in both runs, of the items in both; the base says which class and cluster an item belongs to."""
    common = {row.id for row in base.samples if not group or row.group == group} & {row.id for row in other.samples}

    def side(samples: Sequence[SampleRow]) -> dict[str, list[float]]:
        rows = [row for row in samples if row.id in common]
        return stats.by_id([value(row) for row in rows], [row.id for row in rows])

    return side(base.samples), side(other.samples), {row.id: row.cluster for row in base.samples}


def _answers(x: stats.ById, y: stats.ById) -> int:
    common = [item for item, values in x.items() if values and y.get(item)]
    return min(sum(len(side[item]) for item in common) for side in (x, y))


def _value(side: stats.ById, partner: stats.ById, summary: Callable[[Sequence[float]], float]) -> float | None:
    """A summary over one side's rows of the items scored on both."""
    if summary is np.mean:
        scored = [float(np.mean(values)) for item, values in side.items() if values and partner.get(item)]
    else:
        scored = [value for item, values in side.items() if partner.get(item) for value in values]
    return float(summary(scored)) if scored else None


def _exponential(difference: Estimate) -> Estimate:
    """exp of a difference in nats, with the interval's ends carried over."""
    value, low, high = (None if x is None else exp(x) for x in (difference.value, difference.low, difference.high))
    spread = None if difference.stderr is None or value is None else value * difference.stderr
    update = {"value": value, "low": low, "high": high, "stderr": spread, "unit": "ratio"}
    return difference.model_copy(update=update)
