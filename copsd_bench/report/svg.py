"""Small pieces of SVG: tags, scales, axes, marks. Colours are classes, so that the page's style sheet decides them.

Charts are drawn 360 units wide, as wide as a phone; on a larger screen they are scaled up with their text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, cos, floor, log2, log10, pi, sin

WIDTH, FONT, BOLD = 360.0, 14.0, 15.4
BELOW = 42.0
"""`FONT` is the size of text; bold text is about as wide as text of the size `BOLD`. `BELOW` is the height of an x axis
with its ticks and label."""
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "down", "hexagon", "plus")
DASHES = ("", "7 4", "2 3", "9 3 2 3", "4 2", "12 4", "1 2", "6 2 1 2 1 2")
"""Marker and dash pattern of the i-th series: what tells series apart without colour."""
UNITS = {"fraction": "%", "tokens": "tokens", "nats": "nats per token", "ratio": "×", "score": "score"}
"""How a unit of records stands in brackets behind an axis label."""


def style_of(index: int) -> str:
    """Class of the i-th series; `--c` is its colour there."""
    return f"s{index % len(SHAPES)}"


def tag(name: str, content: str = "", **attributes: object) -> str:
    """An element; `_` in a name becomes `-`, `class_` is `class`, numbers are rounded to a tenth, None is left out."""
    pairs = [
        f'{key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    opening = " ".join([name, *pairs])
    return f"<{opening}>{content}</{name}>" if content else f"<{opening}/>"


def _value(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(str(value), quote=True)


def text(x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> str:
    """A line of text; `y` is its baseline."""
    return tag("text", escape(content), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def width_of(content: str, size: float = FONT) -> float:
    """About how wide a line of text is, in the same units as `size`."""
    narrow = sum(c in "iljt.,:;|'!()[]fr1 " for c in content)
    return size * (0.64 * len(content) - 0.28 * narrow)


def shortened(content: str, room: float, size: float = FONT) -> str:
    """Text cut in the middle to fit a width."""
    if width_of(content, size) <= room:
        return content
    keep = len(content)
    while keep > 4 and width_of(content[:keep] + "…", size) > room:
        keep -= 1
    return f"{content[: keep - keep // 3]}…{content[len(content) - keep // 3 :]}"


def marker(index: int, x: float, y: float, class_: str = "mark", radius: float = 4.5) -> str:
    """The i-th series' marker around a point."""
    shape = SHAPES[index % len(SHAPES)]
    match shape:
        case "circle":
            return tag("circle", cx=x, cy=y, r=radius, class_=class_)
        case "square":
            side = 1.8 * radius
            return tag("rect", x=x - side / 2, y=y - side / 2, width=side, height=side, class_=class_)
        case "cross" | "plus":
            turn = pi / 4 if shape == "cross" else 0.0
            arms = [(radius * cos(turn + i * pi / 2), radius * sin(turn + i * pi / 2)) for i in range(4)]
            path = "".join(f"M{x:.1f} {y:.1f}l{dx:.1f} {dy:.1f}" for dx, dy in arms)
            return tag("path", d=path, class_=f"{class_} open")
    corners, turn = {"triangle": (3, -pi / 2), "down": (3, pi / 2), "diamond": (4, -pi / 2), "hexagon": (6, 0.0)}[shape]
    angles = [turn + 2 * pi * i / corners for i in range(corners)]
    points = " ".join(f"{x + 1.2 * radius * cos(a):.1f},{y + 1.2 * radius * sin(a):.1f}" for a in angles)
    return tag("polygon", points=points, class_=class_)


@dataclass(frozen=True)
class Scale:
    """A linear map of values in [low, high] to coordinates from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def clipped(self, value: float) -> float:
        """The coordinate of a value, kept inside."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, count: int = 5) -> list[float]:
        """About `count` round values inside the scale."""
        step = round_step((self.high - self.low) / count)
        first = -floor(-self.low / step + 1e-9)
        found = [step * i for i in range(first, first + 2 * count + 4)]
        return [round(value, 10) for value in found if value <= self.high + 1e-9]


@dataclass(frozen=True)
class LogScale(Scale):
    """A logarithmic map of positive values, with ticks at powers of two."""

    def __call__(self, value: float) -> float:
        return Scale(log2(self.low), log2(self.high), self.start, self.end)(log2(value))

    def ticks(self, count: int = 5) -> list[float]:
        """Powers of two inside the scale; every second, third ... of them where there are more than `2 count`."""
        powers = range(ceil(log2(self.low) - 1e-9), floor(log2(self.high) + 1e-9) + 1)
        return [2.0**power for power in powers[:: -(-len(powers) // (2 * count))]]


def round_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** floor(log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if rough <= step * power * 1.0001)


def span(values: Sequence[float | None], floor_at: float | None = None, least: float = 0.0) -> tuple[float, float]:
    """Round ends of a scale that holds the values, at least `least` apart.

    Args:
        floor_at: a value the scale must hold, such as 0.
    """
    known = [value for value in values if value is not None] + ([] if floor_at is None else [floor_at])
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low < max(least, 1e-9):
        high = low + max(least, abs(low) * 0.1, 1e-3)
    step = round_step((high - low) / 5)
    return step * floor(low / step + 1e-9), step * -floor(-high / step + 1e-9)


def tick_text(value: float, unit: str) -> str:
    """A tick in its unit: fractions in per cent, the rest as short as it can be."""
    shown = 100 * value if unit == "fraction" else value
    return f"{round(shown, 6):g}".replace("-", "−")


def axis_label(label: str, unit: str, room: float) -> str:
    """`Length of an answer (tokens)`; the label loses its last words if it does not fit."""
    words, behind = f"{label[:1].upper()}{label[1:]}".split(), f"({UNITS.get(unit, unit)})"
    while len(words) > 1 and width_of(" ".join([*words, behind])) > room:
        words.pop()
    return " ".join([*words, behind])


def x_axis(scale: Scale, top: float, bottom: float, label: str, unit: str, count: int = 5, width: float = WIDTH) -> str:
    """Vertical grid lines from `top` to `bottom`, their values and the label below (`BELOW` units high)."""
    parts = []
    for value in scale.ticks(count):
        parts.append(tag("line", x1=scale(value), y1=top, x2=scale(value), y2=bottom, class_="grid"))
        parts.append(text(scale(value), bottom + 16, tick_text(value, unit), "tick", "middle"))
    name = axis_label(label, unit, width - 16)
    half = width_of(name) / 2 + 4
    middle = min(max((scale.start + scale.end) / 2, half), width - half)
    parts.append(text(middle, bottom + 35, name, "axis", "middle"))
    return "".join(parts)


def y_axis(scale: Scale, left: float, right: float, label: str, unit: str) -> str:
    """Horizontal grid lines from `left` to `right`, their values before them and the label above, left-aligned."""
    parts = []
    for value in scale.ticks(4):
        parts.append(tag("line", x1=left, y1=scale(value), x2=right, y2=scale(value), class_="grid"))
        parts.append(text(left - 6, scale(value) + 5, tick_text(value, unit), "tick", "end"))
    parts.append(text(2, scale.end - 12, f"↑ {axis_label(label, unit, WIDTH - 30)}", "axis"))
    return "".join(parts)


def picture(content: str, height: float, alt: str, width: float = WIDTH) -> str:
    """The finished chart; `alt` says in words what it shows."""
    return tag("svg", content, viewBox=f"0 0 {width:g} {height:.0f}", role="img", aria_label=alt)
