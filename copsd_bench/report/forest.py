"""Rows of dots with their 95 % intervals: one row a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from copsd_bench.records.format import number, suffix
from copsd_bench.records.grid import Grid
from copsd_bench.records.schema import Estimate
from copsd_bench.report.chart import Chart, in_words, shown
from copsd_bench.report.svg import (
    BELOW,
    BOLD,
    WIDTH,
    Scale,
    marker,
    picture,
    shortened,
    span,
    style_of,
    tag,
    text,
    tick_text,
    width_of,
    x_axis,
)

LEFT, RIGHT, ROW, LINE = 16.0, WIDTH - 20, 28.0, 20.0


@dataclass(frozen=True)
class Row:
    """One row: its name, its colour, and an estimate for each mark (None: not measured)."""

    label: str
    series: int
    estimates: Sequence[Estimate | None]


def forest(
    title: str,
    rows: Sequence[Row],
    label: str,
    marks: Sequence[str] = ("",),
    whole: tuple[float, float] | None = None,
    line_at: tuple[float, str] | None = None,
    note: str = "",
) -> Chart:
    """Dots on one axis, each with its interval; several `marks` a row are told apart by their shape.

    Args:
        label: of the axis; its unit is that of the estimates.
        marks: what the estimates of a row are; the first is filled, the others are hollow.
        whole: ends of the axis; without it, those of the numbers.
        line_at: a value to mark, and what it is.
    """
    known = [found for row in rows for found in row.estimates if found is not None and found.value is not None]
    unit = known[0].unit
    ends = [end for found in known for end in (found.value, found.low, found.high)]
    low, high = whole or span([*ends, line_at[0] if line_at else None])
    scale = Scale(low, high, LEFT, RIGHT)
    parts, y = _key(marks, 16.0) if len(marks) > 1 else ([], 4.0)
    top, several = y, len(marks) > 1
    for row in rows:
        y += ROW
        values = _values(row, marks, unit)
        room = RIGHT + 8 - width_of(values)
        parts.append(text(4, y - 6, shortened(row.label, room, BOLD), "strong"))
        parts.append(text(RIGHT + 14, y - 6, values, "value", "end"))
        offset = 7.0 if several else 0.0
        y += LINE * (len(marks) if several else 1) - offset * (len(marks) - 1)
        for i, found in enumerate(row.estimates):
            if found is not None and found.value is not None:
                height = y - LINE / 2 - (len(marks) - 1 - i) * (LINE - offset)
                shape = 2 * i if several else row.series
                parts.append(_dot(found, scale, height, row, shape, hollow=several and i > 0))
    axis = x_axis(scale, top, y, label, unit)
    if line_at is not None:
        at = scale(line_at[0])
        axis += tag("line", x1=at, y1=top, x2=at, y2=y, class_="reference")
    grid = Grid(title, ["Run", *(name or label for name in marks), "n"])
    for row in rows:
        counts = {str(found.n) for found in row.estimates if found is not None}
        grid.add(row.label, *(shown(found) if found else "not measured" for found in row.estimates), " / ".join(counts))
    marked = f" The line at {tick_text(line_at[0], unit)} is {line_at[1]}." if line_at else ""
    return Chart(title, picture(axis + "".join(parts), y + BELOW, in_words(title, grid)), grid, (note + marked).strip())


def _values(row: Row, marks: Sequence[str], unit: str) -> str:
    """The row's numbers, with the names of the marks if they leave room for the row's own name."""
    sign = " %" if unit == "fraction" else suffix(unit) if unit == "ratio" else ""
    found = [(name, found) for name, found in zip(marks, row.estimates, strict=True) if found is not None]
    named = " · ".join(f"{name} {number(estimate.value, unit)}{sign}".strip() for name, estimate in found)
    if width_of(named) + width_of(row.label, BOLD) < WIDTH - 20:
        return named
    return " · ".join(number(estimate.value, unit) + sign for _, estimate in found)


def _key(marks: Sequence[str], y: float) -> tuple[list[str], float]:
    parts, x = [], 8.0
    for i, name in enumerate(marks):
        if x + 10 + width_of(name) > WIDTH:
            x, y = 8.0, y + LINE
        parts += [marker(2 * i, x, y - 4, "mark" if i == 0 else "mark hollow"), text(x + 10, y, name, "key")]
        x += 30 + width_of(name)
    return parts, y + 8


def _dot(found: Estimate, scale: Scale, y: float, row: Row, shape: int, hollow: bool) -> str:
    assert found.value is not None
    bar = ""
    if found.low is not None and found.high is not None:
        ends = [scale.clipped(found.low), scale.clipped(found.high)]
        bar = tag("line", x1=ends[0], y1=y, x2=ends[1], y2=y, class_="bar")
        bar += "".join(tag("line", x1=end, y1=y - 4, x2=end, y2=y + 4, class_="bar") for end in ends)
    dot = marker(shape, scale.clipped(found.value), y, "mark hollow" if hollow else "mark")
    return tag("g", tag("title", f"{row.label}: {shown(found)}") + bar + dot, class_=style_of(row.series))
