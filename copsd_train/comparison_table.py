"""The results of a comparison in one table: every arm against the base, paired on the same items."""

from collections.abc import Sequence
from dataclasses import dataclass

from copsd_bench.records import significance
from copsd_bench.records.change import Change, panel_change
from copsd_bench.records.compare import Comparison, compare
from copsd_bench.records.format import MISSING, interval, number, points, suffix, with_error
from copsd_bench.records.grid import Grid
from copsd_bench.records.leaderboard import leaderboard, leaderboard_parts
from copsd_bench.records.schema import RunRecord, SampleRow
from copsd_train.budget import own_budget
from copsd_train.comparison import Arm

PANEL: dict[str, tuple[str, str]] = {
    "Length": ("tokens_median", ""),
    "Refused harmful": ("refusal", "harmful"),
    "Refused benign": ("refusal", "benign"),
    "Entropy": ("entropy", ""),
}
"""Columns of the collapse panel: heading -> statistic and prompt class, over the answers of all tasks."""

LEGEND = (
    "First row: the base's own numbers. Others: score ± half its 95 % interval, and the change against the base, "
    "paired on items, with its 95 % interval (of rates in points; length and entropy as "
    "ratios: 1 is unchanged). *: p < .05, adjusted by Holm over all arms and tasks. Tokens: those the student learned "
    "from. Collapse: the verdict of the gate."
)


@dataclass(frozen=True)
class Pooled:
    """The answers of all tasks of a run. A prompt that several tasks share is one item."""

    samples: list[SampleRow]


@dataclass(frozen=True)
class Column:
    """A heading and one cell an arm, the base first; `texts` are aligned to the left."""

    heading: str
    cells: list[str]


def results_parts(base: RunRecord, arms: Sequence[Arm], narrow: bool) -> list[Grid | str]:
    """The table (narrow: in pieces that fit a terminal), what failed, and a legend.

    Args:
        base: its record.
        arms: with a record, or an error.
        narrow: at most two tasks in a piece, the panel in one of its own.
    """
    comparisons = [compare(base, arm.record) if arm.record is not None else None for arm in arms]
    tasks = _task_columns(base, arms, comparisons)
    blocks = [_spent(arms), *tasks, _panel_columns(base, arms, comparisons)]
    title = f"{base.model.name}: each arm against the base"
    if not narrow:
        pieces = [[column for block in blocks for column in block]]
    else:
        step = 2
        pairs = [[c for block in tasks[i : i + step] for c in block] for i in range(0, len(tasks), step)]
        pieces = [[*blocks[0], *(pairs[0] if pairs else [])], *pairs[1:], blocks[-1]]
    names = ["base", *(arm.recipe.name for arm in arms)]
    failed = [f"{arm.recipe.name} failed: {arm.error}" for arm in arms if arm.error is not None]
    return [*(_grid(title, names, piece) for piece in pieces), *failed, LEGEND]


def details_parts(base: RunRecord, arms: Sequence[Arm]) -> list[Grid | str]:
    """The leaderboard of `copsd-bench` on the same records: all scores and the panel of levels."""
    return leaderboard_parts(leaderboard([base, *(arm.record for arm in arms if arm.record is not None)]))


def _grid(title: str, names: Sequence[str], columns: Sequence[Column]) -> Grid:
    grid = Grid(title, ["Arm", *(column.heading for column in columns)])
    for name, *cells in zip(names, *(column.cells for column in columns), strict=True):
        grid.add(name, *cells)
    return grid


def _spent(arms: Sequence[Arm]) -> list[Column]:
    updates = [f"{own_budget(arm.recipe, arm.prompts).updates:,}" if arm.error is None else "failed" for arm in arms]
    tokens = [f"{arm.used_tokens():,}" for arm in arms]
    return [Column("Updates", [MISSING, *updates]), Column("Tokens", [MISSING, *tokens])]


def _task_columns(base: RunRecord, arms: Sequence[Arm], comparisons: Sequence[Comparison | None]) -> list[list[Column]]:
    """For each task its score and the change of it."""
    changes = [_primaries(found) for found in comparisons]
    flat = [(i, task) for i, found in enumerate(changes) for task in found]
    adjusted = dict(zip(flat, significance.holm([changes[i][task].p for i, task in flat]), strict=True))
    blocks = []
    for task in base.tasks:
        scores, differences = [_score(base, task.name)], [MISSING]
        for i, arm in enumerate(arms):
            change, p = changes[i].get(task.name), adjusted.get((i, task.name))
            mark = "*" if p is not None and p < 0.05 else ""
            scores.append(MISSING if arm.record is None else _score(arm.record, task.name))
            differences.append(MISSING if change is None else interval(change.change, signed=True) + mark)
        blocks.append([Column(f"{task.name}: {task.primary}", scores), Column("change", differences)])
    return blocks


def _primaries(comparison: Comparison | None) -> dict[str, Change]:
    return {} if comparison is None else {task.task: task.scores[0] for task in comparison.tasks if task.scores}


def _score(record: RunRecord, task: str) -> str:
    for found in record.tasks:
        if found.name == task and found.primary in found.metrics:
            return with_error(found.metrics[found.primary])
    return MISSING


def _panel_columns(base: RunRecord, arms: Sequence[Arm], comparisons: Sequence[Comparison | None]) -> list[Column]:
    before = _pooled(base)
    sides = [None if arm.record is None else _pooled(arm.record) for arm in arms]
    columns = []
    for heading, (statistic, group) in PANEL.items():
        level = panel_change(before, before, statistic, group)
        unit = {"tokens_median": "tokens", "entropy": "nats"}.get(statistic, "fraction")
        cells = [MISSING if level.base is None else number(level.base, unit) + suffix(unit)]
        for side in sides:
            change = None if side is None else panel_change(before, side, statistic, group)
            if change is None:
                cells.append(MISSING)
            elif change.kind == "difference":
                cells.append(points(change.change, bounds=True))
            else:
                cells.append(interval(change.change))
        columns.append(Column(heading, cells))
    verdicts = [MISSING if found is None else found.collapse.state for found in comparisons]
    return [*columns, Column("Collapse", [MISSING, *verdicts])]


def _pooled(record: RunRecord) -> Pooled:
    return Pooled([row for task in record.tasks for row in task.samples])
