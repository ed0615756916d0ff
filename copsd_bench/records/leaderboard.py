"""Many records in one table: a row a run, a column a task, the collapse panel beside it.

Runs stand in one block only if they ran the same items of the same tasks under the same settings; the chat template,
the constitution and the way to respond are part of what a row is, and may differ.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from copsd_bench.errors import CopsdError, unknown_name
from copsd_bench.records.comparability import differences, task_key
from copsd_bench.records.format import MISSING, number, run_name
from copsd_bench.records.grid import Grid
from copsd_bench.records.panel import STATISTICS, estimate_of
from copsd_bench.records.schema import Estimate, RunRecord, SampleRow
from copsd_bench.records.table import panel_cell, tokens

ROW_FIELDS = ("constitution", "template", "respond")
PANEL: dict[str, tuple[str, str]] = {
    "truncated": ("truncated", ""),
    "refusal/harmful": ("refusal", "harmful"),
    "refusal/benign": ("refusal", "benign"),
    "degenerate": ("degenerate", ""),
    "distinct_2": ("distinct_2", ""),
    "entropy": ("entropy", ""),
}
"""Panel columns: key in the panel -> statistic and prompt class."""
_HEADINGS = ("Cut", "Ref. harmful", "benign", "Degen", "Dist-2", "Entr.")


@dataclass
class Row:
    """One run: its name, its primary scores by task, and the panel over the completions of all its tasks."""

    name: str
    record: RunRecord
    scores: dict[str, Estimate]
    panel: dict[str, Estimate]


@dataclass
class Block:
    """Rows that compare with one another, and what sets them apart from the first block."""

    tasks: list[str]
    rows: list[Row] = field(default_factory=list)
    apart: str = ""


def leaderboard(
    records: Sequence[RunRecord], suite: str | None = None, names: Sequence[str] | None = None
) -> list[Block]:
    """Blocks of comparable runs, the largest first; rows by name and date.

    Args:
        suite: keep the runs of one suite.
        names: of the runs; without them, their models and adapters.

    Raises:
        CopsdError: nothing to show, or no run of that suite.
    """
    if not records:
        raise CopsdError("There is no record to show; give the JSON files or folders that `copsd-bench run` wrote.")
    if suite is not None:
        known = {record.suite for record in records if record.suite}
        if suite not in known:
            raise unknown_name("suite in these records", suite, known or {"none"})
        kept = [i for i, record in enumerate(records) if record.suite == suite]
        records, names = [records[i] for i in kept], names and [names[i] for i in kept]
    blocks: dict[tuple[object, ...], Block] = {}
    names = names or [run_name(record) for record in records]
    for record, name in zip(records, names, strict=True):
        unique = name if names.count(name) == 1 else f"{name} ({record.run_id[:12]})"
        block = blocks.setdefault(_block_key(record), Block([task.name for task in record.tasks]))
        scores = {task.name: task.metrics[task.primary] for task in record.tasks if task.primary in task.metrics}
        block.rows.append(Row(unique, record, scores, _pooled_panel(record)))
    ordered = sorted(blocks.values(), key=lambda block: (-len(block.rows), -len(block.tasks)))
    for block in ordered:
        block.rows.sort(key=lambda row: (row.name, row.record.created))
        if block is not ordered[0]:
            block.apart = _apart(ordered[0].rows[0].record, block.rows[0].record)
    return ordered


def leaderboard_parts(blocks: Sequence[Block], tasks_per_grid: int | None = None) -> list[Grid | str]:
    """Each block as a score table (several, with at most `tasks_per_grid` tasks each) and a panel table."""
    parts: list[Grid | str] = []
    for i, block in enumerate(blocks):
        title = "Scores (rates in per cent, ± half the 95 % interval)"
        if len(blocks) > 1:
            apart = f", not comparable with block 1: {block.apart}" if block.apart else ""
            parts.append(f"Block {i + 1} of {len(blocks)}{apart}\n")
        step = tasks_per_grid or max(len(block.tasks), 1)
        for start in range(0, len(block.tasks), step):
            shown = block.tasks[start : start + step]
            grid = Grid(title, ["Run", *shown])
            for row in block.rows:
                grid.add(row.name, *(_score(row.scores.get(task)) for task in shown))
            parts.append(grid)
        panel = Grid("Collapse panel over all answers (shares in per cent)", ["Run", "n", "Tokens", *_HEADINGS])
        for row in block.rows:
            panel.add(
                row.name,
                str(len(_answers(row.record))),
                tokens(row.panel),
                *(panel_cell(row.panel, key) for key in PANEL),
            )
        parts.append(panel)
    return parts


def leaderboard_csv(blocks: Sequence[Block]) -> str:
    """One line a run and number (long format): rates as fractions, with interval, n and unscored."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "block",
            "model",
            "adapter",
            "constitution",
            "run_id",
            "number",
            "value",
            "low",
            "high",
            "n",
            "n_unscored",
            "unit",
        ]
    )
    for i, block in enumerate(blocks):
        for row in block.rows:
            model, mode = row.record.model, row.record.constitution.mode
            for name, found in (row.scores | {f"panel/{key}": value for key, value in row.panel.items()}).items():
                numbers = [found.value, found.low, found.high, found.n, found.n_unscored, found.unit]
                writer.writerow([i + 1, model.name, model.adapter or "", mode, row.record.run_id, name, *numbers])
    return out.getvalue()


def _block_key(record: RunRecord) -> tuple[object, ...]:
    def part(value: object) -> object:
        return value if isinstance(value, frozenset) else repr(value)

    return tuple(
        (task.name, *((name, part(value)) for name, value in sorted(task_key(record, task).items()) if not _own(name)))
        for task in sorted(record.tasks, key=lambda task: task.name)
    )


def _own(name: str) -> bool:
    return name.split(".")[0] in ROW_FIELDS


def _apart(first: RunRecord, other: RunRecord) -> str:
    """What sets a record apart from the first block, at most three reasons."""
    mine, theirs = ([task.name for task in record.tasks] for record in (first, other))
    reasons = differences(first, other, ROW_FIELDS)
    if set(mine) != set(theirs):
        reasons.insert(0, f"other tasks ({', '.join(theirs)})")
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return "; ".join(reasons[:3]) + more


def _answers(record: RunRecord) -> list[SampleRow]:
    """Every answer of a run once, also where several tasks measure the same rollouts."""
    rows = (row for task in record.tasks for row in task.samples)
    return list({(row.id, row.epoch, row.answer_digest, row.output_tokens): row for row in rows}.values())


def _pooled_panel(record: RunRecord) -> dict[str, Estimate]:
    rows = _answers(record)
    panel = {name: estimate_of(STATISTICS[name], rows) for name in ("tokens_q25", "tokens_median", "tokens_q75")}
    for key, (statistic, group) in PANEL.items():
        panel[key] = estimate_of(STATISTICS[statistic], [row for row in rows if not group or row.group == group])
    return panel


def _score(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return MISSING
    if estimate.low is None or estimate.high is None:
        return number(estimate.value, estimate.unit)
    return f"{number(estimate.value, estimate.unit)} ± {number((estimate.high - estimate.low) / 2, estimate.unit)}"
