"""The leaderboard as one HTML file: measured runs in blocks that compare, and apart from them what papers report."""

from collections.abc import Sequence
from dataclasses import dataclass

from copsd_bench.records.beside import footnotes, reported_cells
from copsd_bench.records.grid import Grid
from copsd_bench.records.leaderboard import Block, leaderboard_parts
from copsd_bench.records.reported import Reported, ReportedTable
from copsd_bench.records.schema import Estimate
from copsd_bench.report.behaviour import refusal, scores
from copsd_bench.report.chart import Chart
from copsd_bench.report.page import render
from copsd_bench.report.scatter import Axis, Point, scatter
from copsd_bench.report.sides import Side, sides_of
from copsd_bench.report.tradeoff import tradeoff


@dataclass(frozen=True)
class Measured:
    """A block of comparable runs: its tables and charts, and why it stands apart from the first.

    `sides` are those of the charts with the names they have in the tables.
    """

    apart: str
    sides: list[tuple[Side, str]]
    grids: list[Grid]
    charts: list[Chart]


@dataclass(frozen=True)
class Printed:
    """A table of a paper, with the sentences a reader needs."""

    title: str
    source: str
    grid: Grid
    chart: Chart | None
    notes: list[str]


def board(blocks: Sequence[Block], reported: Sequence[Reported]) -> str:
    """The page as HTML."""
    count = sum(len(block.rows) for block in blocks)
    return render(
        "board.html.j2",
        title="Leaderboard: safer, or only shorter?",
        blocks=[_measured(block) for block in blocks],
        papers=[(paper, [printed(paper, table) for table in paper.tables]) for paper in reported],
        sources=f"{count} record{'' if count == 1 else 's'}",
    )


def _measured(block: Block) -> Measured:
    sides = sides_of([row.record for row in block.rows])
    grids = [part for part in leaderboard_parts([block]) if isinstance(part, Grid)]
    charts = [chart for make in (tradeoff, refusal, scores) for chart in make(sides).charts]
    runs = iter(block.rows)
    named = [(side, next(runs).name if side.record is not None else "reference") for side in sides]
    return Measured(block.apart, named, grids, charts)


def printed(paper: Reported, table: ReportedTable) -> Printed:
    """A paper's table as it stands there; what was not printed in it is marked: ≈ read off a figure, * otherwise."""
    headings = [
        f"{metric.name} ({metric.unit}{', lower is better' if metric.better == 'lower' else ''})"
        for metric in table.metrics
    ]
    grid = Grid(table.title, ["System", *headings])
    for row in table.rows:
        grid.add(row.system, *reported_cells(table, row))
    source = ", ".join(filter(None, [paper.source.paper, paper.source.version, table.where]))
    return Printed(table.title, f"{source}; base model: {table.base_model}", grid, _chart(table), footnotes(table))


def _chart(table: ReportedTable) -> Chart | None:
    if table.chart is None:
        return None
    x, y = table.chart
    points = [
        Point(row.system, i, _estimate(table, row.system, x), _estimate(table, row.system, y))
        for i, row in enumerate(table.rows)
    ]
    whole = (0.0, 100.0)
    return scatter(
        f"{table.title} ({table.base_model})",
        points,
        Axis(x, whole),
        Axis(y, whole),
        front=True,
        note="Reported, without intervals.",
    )


def _estimate(table: ReportedTable, system: str, metric: str) -> Estimate:
    unit = next(found.unit for found in table.metrics if found.name == metric)
    return Estimate(value=table.value(system, metric), n=0, method="reported", unit=unit)
