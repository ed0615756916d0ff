"""The tables printed at the end of a run: scores, then the collapse panel by prompt class."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from copsd_bench.records.format import MISSING, number, run_name, with_error
from copsd_bench.records.grid import Grid
from copsd_bench.records.panel import GROUPS
from copsd_bench.records.schema import Estimate, RunRecord, TaskRecord

if TYPE_CHECKING:
    from rich.console import Console

PANEL_COLUMNS: dict[str, str] = {
    "truncated": "Cut",
    "refusal": "Refused",
    "degenerate": "Degen",
    "loops": "Loops",
    "distinct_2": "Dist-2",
    "entropy": "Entr.",
    "logprob": "Logp",
}
"""Panel statistics shown, with their headings; response tokens come before them."""

LEGEND = (
    "± is half the 95 % interval. Tokens: median (quartiles) of an answer; Cut: ran into the token limit; "
    "Dist-2: share of distinct word pairs; Entr., Logp: nats per token."
)


def print_results(record: RunRecord, console: "Console") -> None:
    """Print the result of a run: scores with 95 % intervals, then the panel beside them."""
    from rich.markup import escape

    epochs = f", {record.epochs} epochs" if record.epochs > 1 else ""
    against = next((f", against {task.reference.name}" for task in record.tasks if task.reference), "")
    settings = f"{record.model.dtype or 'dtype unknown'}{epochs}{escape(against)}"
    console.print(f"[bold]{escape(run_name(record))}[/bold]  ({settings})")
    console.print(score_grid(record.tasks).rich())
    console.print(panel_grid(record.tasks).rich())
    console.print(f"[dim]{LEGEND}[/dim]")
    for note in [*record.notes, *(f"{task.name}: {note}" for task in record.tasks for note in task.notes)]:
        console.print(f"[yellow]note[/yellow] {escape(note)}")


def times(record: RunRecord) -> str:
    """How long each task's samples were under way, and all of them."""
    tasks = ", ".join(f"{task.name} {task.seconds:.0f} s" for task in record.tasks)
    return f"Time: {tasks}" if len(record.tasks) < 2 else f"Time: {tasks}; together {record.seconds / 60:.1f} min"


def score_grid(tasks: Sequence[TaskRecord]) -> Grid:
    """Every metric of every task; the primary one first and bold."""
    grid = Grid("Scores", ["Task", "Metric", "Value", "n", "Unscored"], texts=2)
    for task in tasks:
        for i, (name, estimate) in enumerate(sorted(task.metrics.items(), key=lambda item: item[0] != task.primary)):
            grid.add(
                task.name if i == 0 else "",
                f"{name} (lower is better)" if task.is_lower_better(name) else name,
                with_error(estimate) if estimate.value is not None else _unscored(task),
                str(estimate.n),
                str(estimate.n_unscored) if estimate.n_unscored else "",
                style="bold" if name == task.primary else "",
            )
    return grid


def _unscored(task: TaskRecord) -> str:
    """Why there is no number: the task's own word for it, if it has one."""
    reason = next((note.partition(";")[0] for note in task.notes if note.startswith("unscored: ")), "")
    return reason or "unscored"


def panel_grid(tasks: Sequence[TaskRecord]) -> Grid:
    """The collapse panel: a row for each prompt class of each task; columns nobody measured are left out."""
    columns = {key: heading for key, heading in PANEL_COLUMNS.items() if any(key in task.panel for task in tasks)}
    grid = Grid("Collapse panel (shares in per cent)", ["Task and prompts", "n", "Tokens", *columns.values()])
    # Tasks on the same rollouts have the same panel: it is shown with the first of them.
    for task in (task for i, task in enumerate(tasks) if task.panel not in [other.panel for other in tasks[:i]]):
        for i, group in enumerate(classes(task)):
            grid.add(
                class_heading(task.name, group, first=i == 0),
                str(sum(not group or row.group == group for row in task.samples)),
                tokens(task.panel, group),
                *(panel_cell(task.panel, key, group) for key in columns),
                style="bold" if i == 0 else "",
            )
    return grid


def classes(task: TaskRecord) -> list[str]:
    """`""` (all samples) followed by the prompt classes that occur; a single class stands alone."""
    found = [group for group in GROUPS if any(row.group == group for row in task.samples)]
    return ["", *found] if len(found) > 1 else found


def class_heading(task: str, group: str, first: bool) -> str:
    """The task on its first row, its classes below; a single class stands in brackets."""
    if not first:
        return f"· {group}"
    return f"{task} ({group})" if group else task


def tokens(panel: Mapping[str, Estimate], group: str = "") -> str:
    """`85 (40–160)`: median response tokens with quartiles."""
    low, middle, high = (panel.get(f"tokens_{name}/{group}".rstrip("/")) for name in ("q25", "median", "q75"))
    if low is None or middle is None or high is None:
        return MISSING
    return f"{number(middle.value, 'tokens')} ({number(low.value, 'tokens')}–{number(high.value, 'tokens')})"


def panel_cell(panel: Mapping[str, Estimate], key: str, group: str = "") -> str:
    """One statistic as a short number: shares in whole per cent, distinct-n between 0 and 1, nats with two digits."""
    estimate = panel.get(f"{key}/{group}".rstrip("/"))
    if estimate is None or estimate.value is None:
        return MISSING
    if key.startswith("distinct"):
        return f"{estimate.value:.2f}"
    return f"{100 * estimate.value:.0f}" if estimate.unit == "fraction" else number(estimate.value, estimate.unit)
