"""Scales, the Pareto front, and that charts do not lose or invent numbers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.records.schema import Estimate, Series
from copsd_bench.report.forest import Row, forest
from copsd_bench.report.lines import Line, lines
from copsd_bench.report.ridges import Lengths, ridges
from copsd_bench.report.scatter import pareto
from copsd_bench.report.svg import Scale, shortened, span, width_of

NUMBERS = st.floats(-1e4, 1e4, allow_nan=False, allow_infinity=False)


def beaten(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether b is at least as good in both numbers and better in one: the definition."""
    return b[0] >= a[0] and b[1] >= a[1] and b != a


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12, unique=True))
def test_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    naive = {i for i, point in enumerate(points) if not any(beaten(point, other) for other in points)}
    assert set(pareto([(float(x), float(y)) for x, y in points])) == naive


@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_a_scale_holds_its_values_between_round_ticks(values: list[float]) -> None:
    low, high = span(values)
    slack = 1e-8 * (high - low)  # a hundred-millionth of the picture
    assert low - slack <= min(values)
    assert max(values) <= high + slack
    ticks = Scale(low, high, 0.0, 100.0).ticks()
    assert 2 <= len(ticks) <= 12
    assert all(low - slack <= tick <= high + slack for tick in ticks)


def test_long_names_are_cut_in_the_middle_to_their_room() -> None:
    name = "an-organisation/a-very-long-model-name · constitution default"
    cut = shortened(name, 150)
    assert width_of(cut) <= 150
    assert cut.startswith("an-org")
    assert cut.endswith("ault")


def test_a_curve_with_gaps_keeps_its_points() -> None:
    curve = Series(
        name="kl",
        x=[1, 2, 3],
        x_label="Token position",
        x_unit="token",
        y=[0.5, None, 0.25],
        y_label="KL",
        y_unit="nats",
    )
    chart = lines("KL", [Line("model", 0, curve)])
    (points,) = re.findall(r'<polyline points="([^"]*)"', chart.svg)
    assert len(points.split()) == 2
    assert [row[1] for row in chart.grid.rows] == ["0.50", "–", "0.25"]


def test_cut_answers_are_counted_apart_from_long_ones() -> None:
    chart = ridges("Benign", [Lengths("base", 0, [10, 20, 160, 160], [False, False, True, False])])
    assert chart.grid.rows == [["base", "90 (18–160)", "25 %", "4"]]
    assert chart.svg.count('class="hatch"') == 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_share_at_the_end_of_its_range_is_drawn_inside(value: float) -> None:
    found = Estimate(value=value, n=20, low=max(0.0, value - 0.2), high=min(1.0, value + 0.2))
    chart = forest("Refused", [Row("base", 0, [found])], "Answers refused", whole=(0.0, 1.0))
    (at,) = re.findall(r'<circle cx="([\d.]+)"', chart.svg)
    assert 0 < float(at) < 360
