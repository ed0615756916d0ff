"""Several numbers of many runs: a row a run, a panel a number, each with its interval and its own axis."""

from collections.abc import Sequence
from dataclasses import dataclass

from copsd_bench.records.format import MISSING
from copsd_bench.records.grid import Grid
from copsd_bench.records.schema import Estimate
from copsd_bench.report.chart import Chart, in_words, shown
from copsd_bench.report.svg import (
    BELOW,
    BOLD,
    Scale,
    marker,
    picture,
    shortened,
    span,
    style_of,
    tag,
    text,
    x_axis,
)

WIDE, NAMES, GAP, TOP, ROW = 880.0, 210.0, 36.0, 8.0, 24.0


@dataclass(frozen=True)
class Cell:
    """A number of a run with its interval, and single measurements of it, drawn as small rings."""

    estimate: Estimate
    single: Sequence[float] = ()


@dataclass(frozen=True)
class Panel:
    """One number of every run.

    Attributes:
        label: of its axis.
        cells: by run; None where it was not measured.
        line_at: a value to mark with a dashed line.
    """

    label: str
    cells: Sequence[Cell | None]
    line_at: float | None = None


def panels(title: str, names: Sequence[str], given: Sequence[Panel], note: str = "") -> Chart:
    """Panels side by side; panels in which no run has a number are left out.

    Args:
        names: of the runs, from top to bottom; the first one's colour is that of a reference.
    """
    kept = [panel for panel in given if any(panel.cells)]
    room = (WIDE - NAMES) / len(kept)
    bottom = TOP + ROW * len(names)
    parts = [text(4, _height(i) + 5, shortened(name, NAMES - 8, BOLD), "strong") for i, name in enumerate(names)]
    for i, panel in enumerate(kept):
        drawn = _panel(panel, names, room, bottom)
        parts.append(tag("g", drawn, transform=f"translate({NAMES + i * room + GAP / 2:.1f} 0)"))
    grid = Grid(title, ["Run", *(panel.label for panel in kept)])
    for i, name in enumerate(names):
        cells = [panel.cells[i] for panel in kept]
        grid.add(name, *(shown(cell.estimate) if cell else MISSING for cell in cells))
    return Chart(title, picture("".join(parts), bottom + BELOW, in_words(title, grid), WIDE), grid, note)


def _panel(panel: Panel, names: Sequence[str], room: float, bottom: float) -> str:
    known = [cell for cell in panel.cells if cell is not None]
    ends = [end for cell in known for end in (cell.estimate.value, cell.estimate.low, cell.estimate.high, *cell.single)]
    scale = Scale(*span([*ends, panel.line_at]), 0.0, room - GAP)
    parts = [x_axis(scale, TOP, bottom, panel.label, known[0].estimate.unit, count=4, width=room)]
    if panel.line_at is not None:
        at = scale(panel.line_at)
        parts.append(tag("line", x1=at, y1=TOP, x2=at, y2=bottom, class_="reference"))
    for i, (name, cell) in enumerate(zip(names, panel.cells, strict=True)):
        if cell is not None and cell.estimate.value is not None:
            parts.append(_cell(cell, name, i, scale))
    return "".join(parts)


def _cell(cell: Cell, name: str, i: int, scale: Scale) -> str:
    found, y = cell.estimate, _height(i)
    assert found.value is not None
    parts = [tag("title", f"{name}: {shown(found)}")]
    if found.low is not None and found.high is not None:
        parts.append(tag("line", x1=scale(found.low), y1=y, x2=scale(found.high), y2=y, class_="bar"))
    parts += [tag("circle", cx=scale(value), cy=y + 7, r=2.0, class_="seed") for value in cell.single]
    parts.append(marker(0, scale(found.value), y))
    return tag("g", "".join(parts), class_=style_of(0 if i == 0 else 1))


def _height(i: int) -> float:
    return TOP + ROW * (i + 0.5)
