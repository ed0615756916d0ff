"""Length distributions: one histogram a run, all on one axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from copsd_bench.records.format import number
from copsd_bench.records.grid import Grid
from copsd_bench.report.chart import Chart, in_words
from copsd_bench.report.svg import (
    BELOW,
    BOLD,
    WIDTH,
    Scale,
    picture,
    shortened,
    span,
    style_of,
    tag,
    text,
    width_of,
    x_axis,
)

BINS, HEIGHT, LABEL, LEFT, RIGHT = 24, 36.0, 31.0, 16.0, WIDTH - 20
_CUT_GAP, _CUT_WIDTH = 6.0, 20.0


@dataclass(frozen=True)
class Lengths:
    """Answer lengths of one run in tokens, and which of the answers were cut at the token limit."""

    label: str
    series: int
    tokens: Sequence[int]
    cut: Sequence[bool]


def ridges(title: str, rows: Sequence[Lengths], note: str = "") -> Chart:
    """A histogram a run of the answers that ended by themselves; the hatched bar at its end are those that were cut."""
    longest = max(max(row.tokens) for row in rows)
    any_cut = any(any(row.cut) for row in rows)
    end = RIGHT - (_CUT_GAP + _CUT_WIDTH if any_cut else 0)
    scale = Scale(0.0, longest if any_cut else span([longest], floor_at=0)[1], LEFT, end)
    shares = [_shares(row, scale.high) for row in rows]
    peak = max(max(found) for found in shares)
    parts, y = [], 4.0
    for row, found in zip(rows, shares, strict=True):
        y += LABEL
        parts.append(_row(row, found, y, y + HEIGHT, scale, peak, any_cut))
        y += HEIGHT
    axis = x_axis(scale, 4.0, y, "Length of an answer", "tokens")
    if any_cut:
        axis += text(end + _CUT_GAP + _CUT_WIDTH / 2, y + 16, "cut", "tick", "middle")
    grid = Grid(title, ["Run", "Median (quartiles), tokens", "Cut at the limit", "Answers"])
    for row in rows:
        q = np.quantile(row.tokens, [0.25, 0.5, 0.75])
        grid.add(row.label, f"{q[1]:.0f} ({q[0]:.0f}–{q[2]:.0f})", f"{100 * np.mean(row.cut):.0f} %", str(len(row.cut)))
    hatched = " Hatched: cut at the token limit." if any_cut else ""
    heights = f"Height: share of answers; the tallest bar is {100 * peak:.0f} %.{hatched} ▲ median."
    return Chart(
        title, picture(axis + "".join(parts), y + BELOW, in_words(title, grid)), grid, f"{note} {heights}".strip()
    )


def _shares(row: Lengths, longest: float) -> list[float]:
    """Shares of answers in `BINS` equal ranges of length, then the share that was cut."""
    counts = [0] * (BINS + 1)
    for tokens, cut in zip(row.tokens, row.cut, strict=True):
        counts[BINS if cut else min(int(tokens * BINS / longest), BINS - 1)] += 1
    return [count / len(row.tokens) for count in counts]


def _row(
    row: Lengths, shares: Sequence[float], top: float, floor: float, scale: Scale, peak: float, any_cut: bool
) -> str:
    median, cut = float(np.median(row.tokens)), float(np.mean(row.cut))
    values = f"median {number(median, 'tokens')}" + (f" · cut {100 * cut:.0f} %" if any_cut else "")
    name = shortened(row.label, RIGHT - width_of(values), BOLD)
    step = (scale.end - scale.start) / BINS
    outline = [f"M{scale.start:.1f} {floor:.1f}"]
    for i, share in enumerate(shares[:BINS]):
        outline.append(f"V{floor - share / peak * (floor - top):.1f}H{scale.start + (i + 1) * step:.1f}")
    parts = [
        text(4, top - 8, name, "strong"),
        text(RIGHT + 14, top - 8, values, "value", "end"),
        tag("path", d="".join([*outline, f"V{floor:.1f}Z"]), class_="area"),
        tag("line", x1=scale.start, y1=floor, x2=RIGHT, y2=floor, class_="floor"),
    ]
    if shares[BINS]:
        height = shares[BINS] / peak * (floor - top)
        parts += [
            tag("rect", class_=look, x=scale.end + _CUT_GAP, y=floor - height, width=_CUT_WIDTH, height=height)
            for look in ("area", "hatch")
        ]
    at = scale.clipped(median)
    points = f"{at:.1f},{floor - 2:.1f} {at - 5:.1f},{floor + 6:.1f} {at + 5:.1f},{floor + 6:.1f}"
    parts.append(tag("polygon", points=points, class_="mark"))
    return tag("g", "".join(parts), class_=style_of(row.series))
