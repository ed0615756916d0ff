"""The gate's verdict on every run that has something to be judged against."""

from collections.abc import Sequence
from dataclasses import dataclass

from copsd_bench.errors import CopsdError
from copsd_bench.records.gate import GateResult, check, check_reference
from copsd_bench.records.gate_table import gate_parts
from copsd_bench.records.grid import Grid
from copsd_bench.records.leaderboard import ROW_FIELDS
from copsd_bench.records.rules import Rules
from copsd_bench.records.schema import TaskRecord
from copsd_bench.report.sides import Side


@dataclass(frozen=True)
class Judged:
    """The verdict on one side.

    Attributes:
        state: healthy, contracting, collapsed or undecided.
        reasons: why, in words and numbers.
        gate: the gate's outcome, which also looks at what is no collapse (`regression (instability)`).
        notes: what a reader must know.
        grid: the findings that did not pass.
    """

    side: Side
    base: Side
    state: str
    reasons: list[str]
    gate: str
    notes: list[str]
    grid: Grid


def verdicts(sides: Sequence[Side], rules: Rules) -> tuple[list[Judged], list[str]]:
    """Verdicts on the runs of a page, and a sentence for each run that could not be judged.

    A run that holds a reference's answers is judged against them; any other against the first run, where the two
    compare (chat template and constitution may differ: they are part of what a run is).
    """
    judged: list[Judged] = []
    doubts: list[str] = []
    for side, record in [(side, side.record) for side in sides if side.record is not None]:
        for base, tasks in _bases(side):
            try:
                if any(task.reference is not None for task in tasks):
                    result = check_reference(record, rules)
                elif base.record is not None:
                    result = check(base.record, record, rules, ROW_FIELDS)
                judged.append(_judged(side, base, result))
            except CopsdError as error:
                doubts.append(f"{side.label}: {error}")
    return judged, doubts


def _bases(side: Side) -> list[tuple[Side, list[TaskRecord]]]:
    """Each side this one is compared with, and the tasks it is compared on."""
    found: dict[int, tuple[Side, list[TaskRecord]]] = {}
    for name, base in side.bases.items():
        if task := side.task(name):
            found.setdefault(base.index, (base, []))[1].append(task)
    return list(found.values())


def _judged(side: Side, base: Side, result: GateResult) -> Judged:
    parts = gate_parts(result)
    grid = next((part for part in parts if isinstance(part, Grid)), Grid("Findings", []))
    symptoms = f" ({', '.join(result.symptoms)})" if result.symptoms else ""
    found = result.collapse
    return Judged(side, base, found.state, found.reasons, f"{result.verdict}{symptoms}", result.notes, grid)
