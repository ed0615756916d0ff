"""A part of the page: what it asks, its charts, and the command that adds what the records lack."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from copsd_bench.report.chart import Chart, shown
from copsd_bench.report.sides import Side


@dataclass(frozen=True)
class Fact:
    """A number of each run and what it means: `contraction`, `0.71 × [0.66, 0.77]`."""

    label: str
    meaning: str
    values: list[tuple[Side, str]]


def facts(sides: Sequence[Side], task: str, meanings: dict[str, str]) -> list[Fact]:
    """Metrics of a task, in the order of `meanings`, of every run that has them."""
    found = [
        Fact(
            name.replace("_", " "),
            meaning,
            [
                (side, shown(estimate))
                for side in sides
                if (measured := side.task(task))
                and (estimate := measured.metrics.get(name))
                and estimate.value is not None
            ],
        )
        for name, meaning in meanings.items()
    ]
    return [fact for fact in found if fact.values]


@dataclass
class Section:
    """A part of the page.

    Attributes:
        name: its anchor.
        lead: one or two sentences: what is shown and how to read it.
        missing: what is not drawn because no record has it, and the command that measures it.
    """

    name: str
    title: str
    lead: str
    charts: list[Chart] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    missing: tuple[str, str] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to say."""
        return not (self.charts or self.facts or self.missing)


def command_for(sides: Sequence[Side], task: str) -> str:
    """The command that would measure a task on the last run of the page."""
    run = [side for side in sides if side.record is not None][-1]
    words = ["copsd-bench", "run", "--task", task, "--model", run.model.name]
    if run.model.adapter:
        words += ["--adapter", run.model.adapter]
    if run.constitution.mode != "none":
        words += ["--constitution", run.constitution.mode]
    return shlex.join([*words, "--reference", "base"])
