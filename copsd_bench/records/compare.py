"""Comparison of runs: what changed against a base, per task, score and panel statistic."""

from collections.abc import Sequence

from copsd_bench.errors import CopsdError
from copsd_bench.records import significance
from copsd_bench.records.change import PANEL_CHANGES, Change, panel_change, score_change
from copsd_bench.records.comparability import common_tasks, differences, is_varied, shortened, task_key, warnings
from copsd_bench.records.findings import Pair, findings
from copsd_bench.records.format import MISSING, interval, number, p_value, points, run_name
from copsd_bench.records.grid import Grid
from copsd_bench.records.panel import GROUPS
from copsd_bench.records.rules import load_rules
from copsd_bench.records.schema import Estimate, RunRecord, Strict, TaskRecord
from copsd_bench.records.table import class_heading
from copsd_bench.records.verdict import Verdict, verdict, verdict_lines


class TaskComparison(Strict):
    """One task in two runs: changes of its own scores, the primary one first, and of its panel."""

    task: str
    scores: list[Change]
    panel: list[Change]


class Comparison(Strict):
    """A run against a base.

    `varied` are the declared fields that do differ, each with its two values; `notes` what a reader must know;
    `collapse` the verdict by the packaged rules.
    """

    base: str
    other: str
    varied: dict[str, tuple[str, str]]
    tasks: list[TaskComparison]
    collapse: Verdict
    notes: list[str]


def compare(base: RunRecord, other: RunRecord, vary: Sequence[str] = ()) -> Comparison:
    """Compare two runs, paired on sample ids; Holm's adjustment over the primary scores of all tasks.

    Raises:
        CopsdError: no task in common, or a field that must agree differs (each is named).
    """
    pairs = require_comparable(base, other, vary)
    tasks = [TaskComparison(task=name, scores=_scores(a, b), panel=_panel(a, b)) for name, a, b in pairs]
    primaries = [task.scores[0] for task, (_, a, _) in zip(tasks, pairs, strict=True) if a.primary in a.metrics]
    for change, p in zip(primaries, significance.holm([change.p for change in primaries]), strict=True):
        change.p_holm = p
    shared = {name for name, _, _ in pairs}
    alone = sorted({task.name for run in (base, other) for task in run.tasks} - shared)
    notes = warnings(base, other)
    if alone:
        notes.append(f"Not in both records, left out: {', '.join(alone)}.")
    return Comparison(
        base=run_name(base),
        other=run_name(other),
        varied=_varied(base, other, vary),
        tasks=tasks,
        collapse=verdict(findings(load_rules(), [Pair(name, a, b) for name, a, b in pairs])),
        notes=notes,
    )


def require_comparable(
    base: RunRecord, other: RunRecord, vary: Sequence[str] = ()
) -> list[tuple[str, TaskRecord, TaskRecord]]:
    """The tasks in both records, or a `CopsdError` that names every field in which they may not be compared."""
    pairs = common_tasks(base, other)
    if not pairs:
        raise CopsdError(
            f"The records share no task ({_tasks(base)} against {_tasks(other)}); run the same tasks on both."
        )
    found = differences(base, other, vary)
    if found:
        more = f"; and {len(found) - 6} more" if len(found) > 6 else ""
        fields = dict.fromkeys(line.split(": ", 1)[1].split(" ", 1)[0].partition(".")[0] for line in found)
        raise CopsdError(
            f"These records do not compare: {'; '.join(found[:6])}{more}; run both alike, or declare what is varied "
            f"on purpose with {' '.join(f'--vary {field}' for field in fields)}."
        )
    empty = [name for name, a, b in pairs if not {row.id for row in a.samples} & {row.id for row in b.samples}]
    if empty:
        raise CopsdError(f"The records share no item of {', '.join(empty)}, so nothing can be paired.")
    return pairs


def comparison_parts(comparison: Comparison) -> list[Grid | str]:
    """A comparison as a heading, two tables (scores and panel, 100 columns wide at most) and its notes."""
    heading = f"Base:  {comparison.base}\nOther: {comparison.other}"
    varied = [f"Varied on purpose: {field} ({a} / {b})." for field, (a, b) in comparison.varied.items()]
    notes = [f"Note: {note}" for note in comparison.notes]
    return [
        "\n".join([heading, *verdict_lines(comparison.collapse), *varied, *notes, ""]),
        _score_grid(comparison),
        _panel_grid(comparison),
    ]


LEGEND = (
    "Brackets: 95 % interval, paired on items. Holm: p adjusted over the tasks' primary scores; bold: below .05. "
    "Length, Mean: ratio of median and of mean tokens; Refused, Cut (ran into the token limit), Degen: change in "
    "points; Entropy: exp(ΔH), effective choices per token."
)


def _scores(base: TaskRecord, other: TaskRecord) -> list[Change]:
    metrics = sorted(base.metrics, key=lambda name: name != base.primary)
    return [score_change(base, other, metric) for metric in metrics]


def _panel(base: TaskRecord, other: TaskRecord) -> list[Change]:
    groups = ["", *(group for group in GROUPS if any(row.group == group for row in base.samples))]
    changes = [panel_change(base, other, statistic, group) for group in groups for statistic in PANEL_CHANGES]
    return [change for change in changes if change.change.n]


def _varied(base: RunRecord, other: RunRecord, vary: Sequence[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for _, a, b in common_tasks(base, other):
        mine, theirs = task_key(base, a), task_key(other, b)
        for field in mine.keys() | theirs.keys():
            x, y = mine.get(field), theirs.get(field)
            if x != y and is_varied(field, vary):
                found[field] = (shortened(x), shortened(y))
    return dict(sorted(found.items()))


def _tasks(record: RunRecord) -> str:
    return ", ".join(task.name for task in record.tasks) or "no task"


def _score_grid(comparison: Comparison) -> Grid:
    grid = Grid("Scores (rates in per cent)", ["Task", "Metric", "Base", "Other", "Change", "n", "p", "Holm"], texts=2)
    for task in comparison.tasks:
        for i, change in enumerate(task.scores):
            unit = change.change.unit
            grid.add(
                task.task if i == 0 else "",
                f"{change.statistic}/{change.group}" if change.group else change.statistic,
                number(change.base, unit),
                number(change.other, unit),
                interval(change.change, signed=True),
                str(change.change.n),
                p_value(change.p),
                p_value(change.p_holm) if change.p_holm is not None else "",
                style="bold" if change.p_holm is not None and change.p_holm < 0.05 else "",
            )
    return grid


def _panel_grid(comparison: Comparison) -> Grid:
    headings = ["Task and prompts", "n", "Length", "Mean", "Refused", "Cut", "Degen", "Dist-2", "Entropy"]
    grid = Grid("Collapse panel, relative to the base", headings)
    for task in comparison.tasks:
        by_group: dict[str, dict[str, Change]] = {}
        for change in task.panel:
            by_group.setdefault(change.group, {})[change.statistic] = change
        groups = list(by_group) if len(by_group) > 2 else [group for group in by_group if group]
        for i, group in enumerate(groups):
            found = by_group[group]
            grid.add(
                class_heading(task.task, group, first=i == 0),
                str(max(change.change.n for change in found.values())),
                _ratio(found.get("tokens_median"), bounds=True),
                _ratio(found.get("tokens_mean")),
                points(_estimate(found.get("refusal")), bounds=True),
                points(_estimate(found.get("truncated"))),
                points(_estimate(found.get("degenerate"))),
                _signed(found.get("distinct_2")),
                _ratio(found.get("entropy"), bounds=True),
            )
    return grid


def _estimate(change: Change | None) -> Estimate | None:
    return None if change is None else change.change


def _ratio(change: Change | None, bounds: bool = False) -> str:
    if change is None or change.change.value is None:
        return MISSING
    return interval(change.change) if bounds else number(change.change.value, "ratio")


def _signed(change: Change | None) -> str:
    return MISSING if change is None else number(change.change.value, "score", signed=True)
