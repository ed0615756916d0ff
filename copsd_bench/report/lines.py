"""Curves with their 95 % bands: a number by token position, or by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

from copsd_bench.records.format import MISSING, number
from copsd_bench.records.grid import Grid
from copsd_bench.records.schema import Series
from copsd_bench.report.chart import Chart, in_words
from copsd_bench.report.svg import (
    BELOW,
    DASHES,
    WIDTH,
    LogScale,
    Scale,
    marker,
    picture,
    shortened,
    span,
    style_of,
    tag,
    text,
    x_axis,
    y_axis,
)

LEFT, RIGHT, HEIGHT, KEY = 46.0, WIDTH - 14, 170.0, 20.0
_MARKS, _TABLE_ROWS = 6, 16


@dataclass(frozen=True)
class Line:
    """A curve with its name; `series` decides colour, dash pattern and marker."""

    label: str
    series: int
    curve: Series


def lines(title: str, curves: Sequence[Line], label: str = "", note: str = "") -> Chart:
    """Curves on common axes, named above in the order of their last value.

    Args:
        curves: of one x and one y unit.
        label: of the y axis, which holds 0; that of the first curve if empty.
    """
    first = curves[0].curve
    xs = [x for line in curves for x in line.curve.x]
    ys = [y for line in curves for part in (line.curve.y, line.curve.low, line.curve.high) for y in part]
    key_top = 16.0
    top = key_top + KEY * len(curves) + 24
    bottom = top + HEIGHT
    kind = LogScale if _geometric(first.x) else Scale
    x_scale = kind(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, LEFT, RIGHT)
    low, high = span(ys, floor_at=0.0)
    y_scale = Scale(low, high, bottom, top)
    parts = [x_axis(x_scale, top, bottom, first.x_label.partition(" (")[0], first.x_unit or "number")]
    parts.append(y_axis(y_scale, LEFT, RIGHT, label or first.y_label, first.y_unit or "number"))
    if low < 0 < high:
        parts.append(tag("line", x1=LEFT, y1=y_scale(0), x2=RIGHT, y2=y_scale(0), class_="reference"))
    ordered = sorted(curves, key=lambda line: _last(line.curve), reverse=True)
    for i, line in enumerate(ordered):
        y = key_top + KEY * i
        sample = tag("line", x1=4, y1=y - 4, x2=40, y2=y - 4, class_="line", stroke_dasharray=_dash(line))
        mark = marker(line.series, 22, y - 4)
        parts.append(tag("g", sample + mark, class_=style_of(line.series)))
        parts.append(text(48, y, shortened(line.label, RIGHT - 50), "key"))
    parts += [_drawn(line, x_scale, y_scale) for line in curves]
    grid = _grid(title, curves)
    explained = f"{first.x_label[:1].upper()}{first.x_label[1:]}." if "(" in first.x_label else ""
    note = f"{note} {explained}".strip()
    return Chart(title, picture("".join(parts), bottom + BELOW, _words(title, curves)), grid, note)


def _geometric(x: Sequence[float]) -> bool:
    """Whether steps grow like the values themselves: bins 1, 2-3, 4-7 ... need a logarithmic axis."""
    return len(x) > 3 and x[0] > 0 and x[-1] - x[-2] > 3 * (x[1] - x[0])


def _drawn(line: Line, x_scale: Scale, y_scale: Scale) -> str:
    curve = line.curve
    points = [(x_scale(x), y_scale(y)) for x, y in zip(curve.x, curve.y, strict=True) if y is not None]
    parts = []
    if curve.low and curve.high:
        pairs = list(zip(curve.x, curve.low, curve.high, strict=True))
        edge = [(x_scale(x), y_scale.clipped(low)) for x, low, _ in pairs if low is not None]
        edge += [(x_scale(x), y_scale.clipped(high)) for x, _, high in reversed(pairs) if high is not None]
        parts.append(tag("polygon", points=_joined(edge), class_="band"))
    parts.append(tag("polyline", points=_joined(points), class_="line", stroke_dasharray=_dash(line)))
    every = max(1, len(points) // _MARKS)
    shift = (line.series * every) // 3 % every if every > 1 else 0
    parts += [marker(line.series, x, y, radius=3.5) for x, y in points[shift::every]]
    return tag("g", tag("title", line.label) + "".join(parts), class_=style_of(line.series))


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _dash(line: Line) -> str | None:
    return DASHES[line.series % len(DASHES)] or None


def _last(curve: Series) -> float:
    return next((y for y in reversed(curve.y) if y is not None), 0.0)


def _grid(title: str, curves: Sequence[Line]) -> Grid:
    """The numbers at about `_TABLE_ROWS` of the x values, first and last among them."""
    xs = sorted({x for line in curves for x in line.curve.x})
    step = max(1, -(-len(xs) // _TABLE_ROWS))
    shown = list(dict.fromkeys([*xs[::step], xs[-1]]))
    first = curves[0].curve
    grid = Grid(title, [first.x_label, *(f"{line.label} ({line.curve.y_unit})" for line in curves)])
    at = [dict(zip(line.curve.x, line.curve.y, strict=True)) for line in curves]
    for x in shown:
        grid.add(f"{x:g}", *(MISSING if found.get(x) is None else number(found[x], "score") for found in at))
    return grid


def _words(title: str, curves: Sequence[Line]) -> str:
    ends = Grid(title, ["Curve", "from", "to"])
    for line in curves:
        known = [y for y in line.curve.y if y is not None]
        if known:
            ends.add(line.label, number(known[0], "score"), f"{number(known[-1], 'score')} {line.curve.y_unit}")
    return in_words(f"{title}, by {curves[0].curve.x_label}", ends)
