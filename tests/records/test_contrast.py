"""Contrasts and co-movement: properties, and coverage of their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.records.contrast import correlation, difference, intercept, slope
from copsd_bench.records.schema import Estimate
from copsd_bench.records.stats import rate

Rates = st.lists(st.booleans(), min_size=1, max_size=30).map(rate)


@given(Rates, Rates)
def test_a_difference_changes_sign_with_its_order(a: Estimate, b: Estimate) -> None:
    ab, ba = difference(a, b), difference(b, a)
    assert ab.value == pytest.approx(-(ba.value or 0))
    assert (ab.low, ab.high) == pytest.approx((-(ba.high or 0), -(ba.low or 0)))


def test_nothing_scored_gives_no_difference() -> None:
    found = difference(rate([None]), rate([True, False]))
    assert (found.value, found.low, found.n, found.n_unscored) == (None, None, 2, 1)


def test_a_line_is_found_whatever_rows_are_unscored() -> None:
    x = [0.0, 1.0, 2.0, None, 5.0]
    y = [1.0, 3.0, 5.0, 7.0, None]
    ids = list("abcde")
    assert slope(x, y, ids).value == pytest.approx(2)
    assert intercept(x, y, ids).value == pytest.approx(1)
    assert correlation(x, y, ids).value == pytest.approx(1)
    assert correlation(x, y, ids).n_unscored == 2


def test_what_does_not_vary_has_no_correlation_and_no_slope() -> None:
    ids = list("abc")
    assert correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], ids).value is None
    assert correlation([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], ids).value is None
    assert slope([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], ids).value is None
    assert slope([1.0, 2.0, 3.0], [0.1, 0.1, 0.1], ids).value == pytest.approx(0)
    assert intercept([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], ids).value == pytest.approx(2)
    assert correlation([], [], []).n == 0


def test_rows_of_one_prompt_are_no_independent_evidence() -> None:
    """Copies of every row leave the estimate and its interval where they are."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20))
    once, ids = slope(x.tolist(), y.tolist(), [str(i) for i in range(20)]), [str(i) for i in range(20)]
    copies = slope(np.repeat(x, 5).tolist(), np.repeat(y, 5).tolist(), [i for i in ids for _ in range(5)])
    assert (copies.value, copies.low, copies.high) == pytest.approx((once.value, once.low, once.high))


def test_clustered_intervals_cover() -> None:
    """150 draws of 24 prompts x 3 rollouts with prompt effects in both numbers: near 95 % hold the true slope."""
    rng = np.random.default_rng(1)
    ids = [str(i) for i in range(24) for _ in range(3)]
    held = 0
    for _ in range(150):
        x = np.repeat(rng.normal(size=24), 3) + 0.3 * rng.normal(size=72)
        y = -0.7 * x + np.repeat(0.5 * rng.normal(size=24), 3) + 0.3 * rng.normal(size=72)
        found = slope(x.tolist(), y.tolist(), ids, resamples=500)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= -0.7 <= found.high
    assert 0.89 <= held / 150 <= 0.995
