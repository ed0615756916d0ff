"""Krippendorff's alpha is what its definition gives, pair by pair, and what its author published."""

from itertools import permutations

import numpy as np
import pytest

from copsd_bench.judges.alpha import agreement, krippendorff_alpha

N = None
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]
"""The worked example of Krippendorff (2011): interval alpha 0.849."""


def naive(ratings: list[list[float | None]]) -> float:
    """Every ordered pair of values of an item, weighted by 1 / (values - 1), against every pair at all."""
    units = [[v for v in column if v is not None] for column in zip(*ratings, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    values = [v for unit in units for v in unit]
    observed = sum((a - b) ** 2 / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)) / len(values)
    expected = sum((a - b) ** 2 for a, b in permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


def test_alpha_is_the_published_one_and_the_naive_one() -> None:
    assert krippendorff_alpha(PUBLISHED) == pytest.approx(0.849, abs=5e-4)
    rng = np.random.default_rng(0)
    for _ in range(20):
        ratings = [[None if rng.random() < 0.3 else float(rng.integers(4)) for _ in range(9)] for _ in range(3)]
        assert krippendorff_alpha(ratings) == pytest.approx(naive(ratings))


def test_what_cannot_be_compared_has_no_alpha() -> None:
    assert krippendorff_alpha([[1.0, None], [None, 0.0]]) is None
    assert krippendorff_alpha([[1.0, 1.0], [1.0, 1.0]]) is None
    assert krippendorff_alpha([[1.0, 0.0], [1.0, 0.0]]) == 1.0


def test_the_interval_holds_the_value_and_unpaired_items_are_counted() -> None:
    found = agreement(PUBLISHED)
    assert found.value == pytest.approx(0.849, abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high <= 1
    assert (found.n, found.n_unscored) == (11, 1)
