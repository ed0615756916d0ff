"""Figures as papers report them, and measured runs in the same columns: side by side, and never mixed up.

A reported column that names a task's metric (`ReportedMetric.measured`) is filled for measured runs, too.
"""

from collections.abc import Sequence

from copsd_bench.records.format import MISSING, run_name
from copsd_bench.records.grid import Grid
from copsd_bench.records.reported import EVIDENCE, Reported, ReportedRow, ReportedTable
from copsd_bench.records.schema import Estimate, RunRecord

CAUTION = (
    "Rows marked as reported are what papers print; nothing of them was measured here. Measured rows beside them rest "
    "on other judges, prompts and versions: they do not compare.\n"
)


def beside(
    papers: Sequence[Reported], records: Sequence[RunRecord], tasks: Sequence[str], columns: int | None = None
) -> list[Grid | str]:
    """Each reported table with a column that one of these tasks measures, followed by its footnotes.

    Args:
        papers: where the tables are.
        records: measured runs, shown below the reported rows.
        tasks: names of a suite's tasks.
        columns: at most so many numbers in a table.
    """
    parts: list[Grid | str] = []
    for paper in papers:
        shown = [table for table in paper.tables if any(m.measured.partition(":")[0] in tasks for m in table.metrics)]
        for table in shown:
            parts += _grids(paper, table, records, columns or len(table.metrics))
            parts.append("\n".join(f"{i}. {note}" for i, note in enumerate(footnotes(table), start=1)) + "\n")
        if shown and paper.notes:
            parts.append(f"{paper.source.paper}: {' '.join(paper.notes)}\n")
    return [CAUTION, *parts] if parts else []


def _grids(paper: Reported, table: ReportedTable, records: Sequence[RunRecord], columns: int) -> list[Grid | str]:
    grids: list[Grid | str] = []
    for start in range(0, len(table.metrics), columns):
        chosen = range(start, min(start + columns, len(table.metrics)))
        where = " ".join(filter(None, [table.where, "of", paper.source.paper, paper.source.version]))
        grid = Grid(f"{table.title}: {where}, {table.base_model}", ["System", *(table.metrics[i].name for i in chosen)])
        for row in table.rows:
            cells = reported_cells(table, row)
            grid.add(f"reported: {row.system}", *(cells[i] for i in chosen))
        for record in records:
            cells = [_measured(record, metric.measured) for metric in table.metrics]
            if any(cells[i] != MISSING for i in chosen):
                grid.add(f"measured: {run_name(record)}", *(cells[i] for i in chosen), style="bold")
        grids.append(grid)
    return grids


def reported_cells(table: ReportedTable, row: ReportedRow) -> list[str]:
    """A row's numbers as printed; what is not from the table itself is marked: ≈ read off a figure, * anything else."""
    cells = []
    for value, metric in zip(row.values, table.metrics, strict=True):
        evidence = table.evidence_of(row, metric)
        mark = "" if evidence == table.evidence else "≈ " if evidence == "figure" else "* "
        cells.append(MISSING if value is None else mark + f"{value:.{table.decimals}f}".replace("-", "−"))
    return cells


def footnotes(table: ReportedTable) -> list[str]:
    """What a reader must know: how the numbers were read, and what is unusual about columns, rows and the whole."""
    others = {table.evidence_of(row, metric) for row in table.rows for metric in table.metrics} - {table.evidence}
    marked = "; ".join(f"{'≈' if kind == 'figure' else '*'}: {EVIDENCE[kind]}" for kind in sorted(others))
    notes = [f"Numbers {EVIDENCE[table.evidence]}{'; ' + marked if marked else ''}."]
    by_note: dict[str, list[str]] = {}
    for name, note in [(m.name, m.note) for m in table.metrics] + [(r.system, r.note) for r in table.rows]:
        if note:
            by_note.setdefault(note, []).append(name)
    return notes + [f"{', '.join(names)}: {note}." for note, names in by_note.items()] + table.notes


def _measured(record: RunRecord, name: str) -> str:
    """A run's number in per cent, with half its 95 % interval; a dash where it has none."""
    wanted, _, metric = name.partition(":")
    found = next((task.metrics.get(metric) for task in record.tasks if task.name == wanted), None)
    return MISSING if found is None or found.value is None else _per_cent(found)


def _per_cent(estimate: Estimate) -> str:
    value = f"{100 * (estimate.value or 0):.2f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} ± {50 * (estimate.high - estimate.low):.2f}"
