"""Length matching against brute force, and what it is for: the chosen lengths follow the base's."""

from itertools import permutations, product

import numpy as np
import pytest

from copsd_train.corpora.lengths import histogram, histogram_distance, match_lengths


def best_cost(base: list[int], options: list[list[int]]) -> float:
    """Every way to hand out the base's lengths and every choice of options."""
    return min(
        sum(abs(np.log(option / length)) for option, length in zip(choice, order, strict=True))
        for order in permutations(base)
        for choice in product(*options)
    )


@pytest.mark.parametrize("seed", range(10))
def test_the_assignment_is_the_best_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    base = random.integers(1, 400, 4).tolist()
    options = [random.integers(1, 400, random.integers(1, 4)).tolist() for _ in base]
    chosen = [row[k] for row, k in zip(options, match_lengths(base, options), strict=True)]
    cost = min(
        sum(abs(np.log(option / length)) for option, length in zip(chosen, order, strict=True))
        for order in permutations(base)
    )
    assert cost == pytest.approx(best_cost(base, options))


def test_chosen_lengths_come_nearer_to_the_bases() -> None:
    random = np.random.default_rng(0)
    base = random.lognormal(5, 0.6, 200).astype(int).tolist()
    options = random.lognormal(4, 1.0, (200, 6)).astype(int).clip(1).tolist()
    first = [row[0] for row in options]
    chosen = [row[k] for row, k in zip(options, match_lengths(base, options), strict=True)]
    assert histogram_distance(chosen, base) < 0.3 * histogram_distance(first, base)


def test_one_option_leaves_no_choice_and_rows_must_have_one() -> None:
    assert match_lengths([5, 9], [[7], [1]]) == [0, 0]
    assert match_lengths([], []) == []
    with pytest.raises(ValueError, match="at least one option"):
        match_lengths([5], [[]])


def test_histograms_count_every_length_once() -> None:
    counts = histogram([1, 16, 17, 1024, 1025, 9999])
    assert counts["1-16"] == 2
    assert counts["17-32"] == counts["513-1024"] == 1
    assert counts["1025+"] == 2
    assert histogram_distance([3, 3], [900]) == 1
    assert histogram_distance([3, 900], [900, 3]) == 0
