"""Runs as points of two numbers, with both 95 % intervals and the Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import hypot

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
    width_of,
    x_axis,
    y_axis,
)

LEFT, TOP = 42.0, 34.0
_LINE, _LEADER = 16.0, 16.0  # height of a name; from this distance on a line ties it to its point
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Point:
    """A run at (x, y); `label` stands beside it."""

    label: str
    series: int
    x: Estimate
    y: Estimate


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: stands beside it.
        whole: its range; without it, that of the numbers.
        line_at: a value to mark, and what it is.
        at_least, floor: values that it must hold.
    """

    label: str
    whole: tuple[float, float] | None = None
    line_at: tuple[float, str] | None = None
    at_least: float | None = None
    floor: float | None = 0.0


@dataclass(frozen=True)
class Frame:
    """How wide the picture is, and where its x axis lies; a larger frame holds more points."""

    width: float = WIDTH
    bottom: float = 262.0

    @property
    def right(self) -> float:
        """Where the x axis ends."""
        return self.width - 14


@dataclass
class _Taken:
    """Boxes that labels must keep off."""

    boxes: list[Box] = field(default_factory=list)

    def overlap(self, box: Box) -> float:
        return sum(
            max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
            * max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
            for other in self.boxes
        )


def scatter(
    title: str,
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    front: bool = False,
    arrows: bool = False,
    note: str = "",
    frame: Frame = Frame(),
) -> Chart:
    """Points with their intervals and their names.

    Args:
        front: draw the Pareto front, where more of both is better.
        arrows: draw an arrow from the first point to each other.
        frame: size of the picture.
    """
    x_scale = Scale(*_ends(x, [point.x for point in points]), LEFT, frame.right)
    y_scale = Scale(*_ends(y, [point.y for point in points]), frame.bottom, TOP)
    parts = [x_axis(x_scale, TOP, frame.bottom, x.label, points[0].x.unit, width=frame.width)]
    parts.append(y_axis(y_scale, LEFT, frame.right, y.label, points[0].y.unit))
    for axis, scale in ((x, x_scale), (y, y_scale)):
        if axis.line_at is not None:
            at = scale(axis.line_at[0])
            ends = (at, TOP, at, frame.bottom) if axis is x else (LEFT, at, frame.right, at)
            parts.append(tag("line", x1=ends[0], y1=ends[1], x2=ends[2], y2=ends[3], class_="reference"))
    places = [(x_scale.clipped(point.x.value or 0), y_scale.clipped(point.y.value or 0)) for point in points]
    if front and len(points) > 1:
        parts.append(_front(points, x_scale, y_scale))
    if arrows:
        parts += [_arrow(places[0], place, point.series) for place, point in zip(places[1:], points[1:], strict=True)]
    taken = _Taken([(px - 7, py - 7, px + 7, py + 7) for px, py in places])
    bars = [_bars(point, place, x_scale, y_scale) for point, place in zip(points, places, strict=True)]
    taken.boxes += [box for boxes in bars for box in boxes]
    parts += [_drawn(point, place, boxes) for point, place, boxes in zip(points, places, bars, strict=True)]
    labels = [_label(point, place, taken, frame) for point, place in zip(points, places, strict=True)]
    grid = Grid(title, ["Run", x.label, y.label])
    for point in points:
        grid.add(point.label, shown(point.x), shown(point.y))
    svg = picture("".join(parts + labels), frame.bottom + BELOW, in_words(title, grid), frame.width)
    return Chart(title, svg, grid, note)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats in one number without losing in the other, by falling y."""
    best, found = float("-inf"), []
    for i in sorted(range(len(points)), key=lambda i: (-points[i][1], -points[i][0])):
        if points[i][0] > best:
            best = points[i][0]
            found.append(i)
    return found


def _ends(axis: Axis, estimates: Sequence[Estimate]) -> tuple[float, float]:
    if axis.whole is not None:
        return axis.whole
    values = [value for found in estimates for value in (found.value, found.low, found.high)]
    return span([*values, axis.line_at[0] if axis.line_at else None, axis.at_least], floor_at=axis.floor)


def _front(points: Sequence[Point], x_scale: Scale, y_scale: Scale) -> str:
    """A staircase through the front: what lies below and to the left of it is beaten by a point on it."""
    values = [(point.x.value or 0.0, point.y.value or 0.0) for point in points]
    chosen = [(x_scale.clipped(values[i][0]), y_scale.clipped(values[i][1])) for i in pareto(values)]
    path = f"M{x_scale.start:.1f} {chosen[0][1]:.1f}" + "".join(
        f"L{x:.1f} {chosen[i][1]:.1f}"
        + (f"V{chosen[i + 1][1]:.1f}" if i + 1 < len(chosen) else f"V{y_scale.start:.1f}")
        for i, (x, _) in enumerate(chosen)
    )
    return tag("path", d=path, class_="front")


def _arrow(start: tuple[float, float], end: tuple[float, float], series: int) -> str:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = (dx * dx + dy * dy) ** 0.5
    if length < 26:
        return ""
    ux, uy = dx / length, dy / length
    (x1, y1), (x2, y2) = (start[0] + 9 * ux, start[1] + 9 * uy), (end[0] - 10 * ux, end[1] - 10 * uy)
    head = "".join(f"M{x2:.1f} {y2:.1f}l{-7 * ux + s * 4 * uy:.1f} {-7 * uy - s * 4 * ux:.1f}" for s in (1, -1))
    return tag("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}{head}", class_=f"arrow {style_of(series)}")


def _bars(point: Point, place: tuple[float, float], x_scale: Scale, y_scale: Scale) -> list[Box]:
    """What the intervals of a point cover."""
    (x, y), boxes = place, []
    if point.x.low is not None and point.x.high is not None:
        boxes.append((x_scale.clipped(point.x.low), y - 0.8, x_scale.clipped(point.x.high), y + 0.8))
    if point.y.low is not None and point.y.high is not None:
        boxes.append((x - 0.8, y_scale.clipped(point.y.high), x + 0.8, y_scale.clipped(point.y.low)))
    return boxes


def _drawn(point: Point, place: tuple[float, float], bars: Sequence[Box]) -> str:
    """The point with its intervals."""
    words = tag("title", f"{point.label}: {shown(point.x)}, {shown(point.y)}")
    arms = "".join(
        tag("rect", x=x, y=y, width=right - x, height=bottom - y, class_="arm") for x, y, right, bottom in bars
    )
    return tag("g", words + arms + marker(point.series, *place, radius=6.0), class_=style_of(point.series))


def _label(point: Point, place: tuple[float, float], taken: _Taken, frame: Frame) -> str:
    """The name beside its point, where it covers the least of what is there already."""
    name = shortened(point.label, 190, BOLD)
    width = width_of(name, BOLD)
    x, y = place
    choices = [
        (x + 11, y - 4), (x - 11 - width, y - 4), (x + 11, y + 14), (x - 11 - width, y + 14),
        (x - width / 2, y - 13), (x - width / 2, y + 22), (x + 11, y - 20), (x - 11 - width, y - 20),
    ]  # fmt: skip
    choices += [(left, y + 14 * k) for k in (-4, -3, -2, 2, 3, 4) for left in (x + 11, x - 11 - width, x - width / 2)]

    def box_at(left: float, base: float) -> Box:
        return left, base - _LINE + 3, left + width, base + 3

    def cost(at: tuple[float, float]) -> float:
        left, top, right, bottom = box = box_at(*at)
        outside = max(0.0, LEFT + 2 - left) + max(0.0, right - frame.right)
        outside += max(0.0, TOP - top) + max(0.0, bottom - frame.bottom)
        return 40 * outside + 4 * taken.overlap(box) + hypot(*_gap(place, box))

    left, base = min(choices, key=cost)
    box = box_at(left, base)
    taken.boxes.append(box)
    dx, dy = _gap(place, box)
    far = hypot(dx, dy) > _LEADER
    leader = tag("line", x1=x, y1=y, x2=x + dx, y2=y + dy, class_="leader") if far else ""
    return tag("g", leader + text(left, base, name, "strong halo"), class_=style_of(point.series))


def _gap(place: tuple[float, float], box: Box) -> tuple[float, float]:
    """From a point to the nearest place of a box."""
    x, y = place
    return min(max(x, box[0]), box[2]) - x, min(max(y, box[1]), box[3]) - y
