"""What a statistic of the suite `collapse` is computed from, and what it gives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from copsd_bench.records import stats
from copsd_bench.records.panel import GROUPS
from copsd_bench.records.schema import Estimate, SampleRow, Series


@dataclass(frozen=True)
class Rows:
    """The rollouts of one task as numbers.

    Attributes:
        model, reference: a row a rollout of each side; ids and epochs pair (an epoch is a rollout).
        details: what a task measured beyond rows (curves by token position), by sample id.
    """

    model: Sequence[SampleRow]
    reference: Sequence[SampleRow] = ()
    details: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, group: str) -> "Rows":
        """The rows of one prompt class; all of them for the empty name."""
        if not group:
            return self
        kept = {row.id for row in self.model if row.group == group}
        return Rows(
            [row for row in self.model if row.id in kept],
            [row for row in self.reference if row.id in kept],
            {sample: detail for sample, detail in self.details.items() if sample in kept},
        )

    def by_group(self) -> "Iterable[tuple[str, Rows]]":
        """Suffix of a metric's name and the rows it covers: all first, then each prompt class that occurs."""
        yield "", self
        for group in GROUPS:
            if (rows := self.of(group)).model:
                yield f"/{group}", rows


@dataclass(frozen=True)
class Summary:
    """A task's numbers: metrics by name, curves, and sentences that a reader of them must know."""

    metrics: dict[str, Estimate]
    series: list[Series] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def series_of(name: str, points: Sequence[Estimate], **axes: Any) -> Series:
    """A curve of estimates with their intervals.

    Args:
        name: what it shows.
        points: one an `x`.
        axes: the other fields of `Series`: `x`, labels, units, `group`.
    """
    return Series(
        name=name,
        y=[point.value for point in points],
        low=[point.low for point in points],
        high=[point.high for point in points],
        n=[point.n for point in points],
        **axes,
    )


RowValue = Callable[[SampleRow], stats.Value]


def score(name: str) -> RowValue:
    """Reads a score of a row."""
    return lambda row: row.scores.get(name)


def values_by_id(rows: Sequence[SampleRow], value: RowValue) -> dict[str, list[float]]:
    """Scored values of each prompt over its rollouts."""
    return stats.by_id([value(row) for row in rows], [row.id for row in rows])


def mean_of(rows: Sequence[SampleRow], value: RowValue, unit: str) -> Estimate:
    """Mean over rollouts, prompts as clusters."""
    return stats.mean([value(row) for row in rows], [row.cluster for row in rows], unit)


def rate_of(rows: Sequence[SampleRow], value: RowValue) -> Estimate:
    """Share of rollouts (a tie may count a half), prompts as clusters."""
    return stats.rate([value(row) for row in rows], [row.cluster for row in rows])


def mean_by_prompt(rows: Sequence[SampleRow], value: RowValue, unit: str) -> Estimate:
    """Mean over prompts of a number that is the same for all rollouts of a prompt; `n` counts prompts."""
    found = values_by_id(rows, value)
    return stats.mean([sum(x) / len(x) if x else None for x in found.values()], unit=unit)
