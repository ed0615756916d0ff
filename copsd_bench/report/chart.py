"""What every chart is: a picture, the same in words, and its numbers as a table."""

from dataclasses import dataclass

from copsd_bench.records.format import MISSING, interval, suffix
from copsd_bench.records.grid import Grid
from copsd_bench.records.schema import Estimate


@dataclass(frozen=True)
class Chart:
    """One chart of a page.

    Attributes:
        title: stands above it.
        svg: the picture; its `aria-label` says in words what it shows.
        grid: its numbers.
        note: how to read it, if that needs a sentence.
    """

    title: str
    svg: str
    grid: Grid
    note: str = ""


def shown(estimate: Estimate) -> str:
    """`41.2 % [35.0, 47.7]`, with the unit where one is said behind numbers."""
    if estimate.value is None:
        return MISSING
    value, _, bounds = interval(estimate).partition(" ")
    return f"{value}{suffix(estimate.unit)} {bounds}".strip()


def in_words(title: str, grid: Grid) -> str:
    """A chart's alternative text: its title and its numbers, at most a dozen rows."""
    rows = [
        f"{row[0]}: " + ", ".join(f"{name} {cell}" for name, cell in zip(grid.headings[1:], row[1:], strict=True))
        for row in grid.rows[:12]
    ]
    more = f" And {len(grid.rows) - 12} more in the table." if len(grid.rows) > 12 else ""
    return f"{title}. {'; '.join(rows)}.{more}"
