"""Statistics: known values, and the coverage of every interval by simulation."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from copsd_bench.records import significance, stats
from copsd_bench.records.bootstrap import quantile_of_counts, resampled_counts
from copsd_bench.records.schema import Estimate

Draw = Callable[[np.random.Generator], tuple[Estimate, float]]


def _items(values: np.ndarray) -> dict[str, list[float]]:
    return {str(i): list(np.atleast_1d(row)) for i, row in enumerate(values)}


def _wilson(rng: np.random.Generator) -> tuple[Estimate, float]:
    p = float(rng.uniform(0.03, 0.97))
    return stats.rate(rng.uniform(size=80) < p), p


def _wilson_clustered(rng: np.random.Generator) -> tuple[Estimate, float]:
    """Items with their own success probability, Beta(a, b), asked in four epochs."""
    a, b = rng.uniform(0.5, 2, size=2)
    outcomes = rng.uniform(size=(100, 4)) < rng.beta(a, b, size=(100, 1))
    return stats.rate(outcomes.ravel(), np.repeat(np.arange(100), 4).astype(str)), a / (a + b)


def _mean(rng: np.random.Generator) -> tuple[Estimate, float]:
    return stats.mean(rng.gamma(4.0, 1.0, size=40)), 4.0


def _mean_clustered(rng: np.random.Generator) -> tuple[Estimate, float]:
    values = rng.normal(2.0, 1.0, size=(50, 1)) + rng.normal(0.0, 0.5, size=(50, 4))
    return stats.mean(values.ravel(), np.repeat(np.arange(50), 4).astype(str)), 2.0


def _weighted_mean(rng: np.random.Generator) -> tuple[Estimate, float]:
    """Share of instructions followed, pooled: one to three an item, and items with more of them are harder."""
    count = rng.integers(1, 4, size=80)
    skill = rng.uniform(0.4, 1.0, size=80) - 0.1 * count
    shares = rng.binomial(count, skill) / count
    truth = sum(k * (0.7 - 0.1 * k) for k in (1, 2, 3)) / 6
    return stats.weighted_mean(list(shares), list(count)), truth


def _median(rng: np.random.Generator) -> tuple[Estimate, float]:
    return stats.quantile(rng.lognormal(4.0, 0.7, size=101), 0.5, resamples=1000), float(np.exp(4.0))


def _ratio_of_medians(rng: np.random.Generator) -> tuple[Estimate, float]:
    """Lengths in tokens of the same prompts under two models; the other model is 0.6 times as long."""
    prompt = rng.normal(4.0, 0.5, size=240)
    base, other = (np.exp(prompt + rng.normal(0.0, 0.4, size=240)) * by for by in (1.0, 0.6))
    return stats.paired_ratio(_items(base), _items(other), resamples=400), 0.6


def _ratio_of_means(rng: np.random.Generator) -> tuple[Estimate, float]:
    prompt = rng.normal(4.0, 0.5, size=60)
    base, other = (np.exp(prompt + rng.normal(0.0, 0.3, size=60)) * by for by in (1.0, 0.6))
    return stats.paired_ratio(_items(base), _items(other), of="mean", resamples=500), 0.6


def _paired_difference(rng: np.random.Generator) -> tuple[Estimate, float]:
    prompt = rng.normal(1.0, 1.0, size=(50, 1))
    base, other = (prompt + shift + rng.gamma(2.0, 0.5, size=(50, 3)) for shift in (0.0, 0.3))
    return stats.paired_difference(_items(base), _items(other), unit="nats", resamples=500), 0.3


def _paired_difference_of_rates(rng: np.random.Generator) -> tuple[Estimate, float]:
    """Right or wrong on the same items; the harder the item the lower both models' chance."""
    difficulty = rng.uniform(size=100)
    base, other = (rng.uniform(size=100) < np.clip(difficulty + shift, 0, 1) for shift in (0.1, 0.0))
    truth = -0.1 + 0.1**2 / 2  # the shift, less what clipping at 1 takes away
    return stats.paired_difference(_items(base * 1.0), _items(other * 1.0), unit="fraction"), truth


@pytest.mark.parametrize(
    "draw",
    [
        _wilson,
        _wilson_clustered,
        _mean,
        _mean_clustered,
        _weighted_mean,
        _median,
        _ratio_of_medians,
        _ratio_of_means,
        _paired_difference,
        _paired_difference_of_rates,
    ],
)
def test_intervals_of_95_percent_cover_93_to_97_percent(draw: Draw) -> None:
    rng = np.random.default_rng(7)
    replications = 1500
    covered = 0
    for _ in range(replications):
        estimate, truth = draw(rng)
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= truth <= estimate.high
    # 1500 replications: standard error 0.56 points, so 93 and 97 are 3.6 of them away from 95.
    assert 0.93 <= covered / replications <= 0.97


def _few_differences(rng: np.random.Generator, items: int) -> tuple[Estimate, float, float | None]:
    """Two runs of the same skewed score, such as a rating of answers."""
    sides = [_items(rng.gamma(2.0, 0.5, size=items)) for _ in range(2)]
    return stats.paired_difference(*sides, resamples=400), 0.0, stats.paired_p(*sides, resamples=400)[0]


def _few_images(rng: np.random.Generator, items: int) -> tuple[Estimate, float, float | None]:
    """As many images, each with one to four questions whose scores it moves together."""
    owners = np.repeat(np.arange(items), rng.integers(1, 5, size=items))
    image = rng.normal(size=items)[owners]
    sides = [_items(np.zeros(len(owners))), _items(image + rng.normal(size=len(owners)))]
    clusters = {str(i): str(owner) for i, owner in enumerate(owners)}
    found = stats.paired_difference(*sides, clusters=clusters, resamples=400)
    return found, 0.0, stats.paired_p(*sides, clusters, resamples=400)[0]


def _few_lengths(of: Literal["mean", "median"]) -> Callable[..., tuple[Estimate, float, float | None]]:
    def draw(rng: np.random.Generator, items: int) -> tuple[Estimate, float, float | None]:
        prompt = rng.normal(4.0, 0.5, size=items)
        sides = [_items(np.exp(prompt + rng.normal(0.0, 0.4, size=items)) * by) for by in (1.0, 0.6)]
        return stats.paired_ratio(*sides, of, resamples=400), 0.6, None

    return draw


@pytest.mark.parametrize("items", [2, 3, 5, 9, 12])
@pytest.mark.parametrize(
    ("draw", "least", "most"),
    [
        (_few_differences, 0.92, 0.98),
        (_few_images, 0.89, 0.97),
        (_few_lengths("mean"), 0.915, 0.97),
        (_few_lengths("median"), 0.93, 1.0),
    ],
    ids=["differences", "images", "means", "medians"],
)
def test_few_items_are_not_taken_for_many(draw: Callable[..., Any], least: float, most: float, items: int) -> None:
    rng = np.random.default_rng(items)
    replications, covered, rejected = 1000, 0, 0
    for _ in range(replications):
        estimate, truth, p = draw(rng, items)
        covered += estimate.low <= truth <= estimate.high
        rejected += p is not None and p <= 0.05
    assert least <= covered / replications <= most  # standard error 0.7 points
    assert rejected / replications <= 0.07


def test_one_graded_item_has_no_interval_and_no_test() -> None:
    base, other = {"a": [0.5]}, {"a": [0.6]}
    assert stats.paired_p(base, other) == (None, "")
    for found in (stats.paired_difference(base, other), stats.paired_ratio(base, other)):
        assert found.value is not None
        assert (found.stderr, found.low, found.high) == (None, None, None)


def test_a_few_differences_have_students_interval() -> None:
    d = np.array([0.1, 0.25, -0.05, 0.4])
    found = stats.paired_difference(_items(np.full(4, 0.5)), _items(0.5 + d))
    expected = scipy.stats.t.interval(0.95, 3, d.mean(), scipy.stats.sem(d))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.method == "t"
    lengths = stats.paired_ratio(_items(np.full(3, 9.0)), _items(np.array([0.0, 0.0, 9.0])), of="mean")
    assert (lengths.value, lengths.low) == (pytest.approx(1 / 3), None), "a resample's ratio is 0"


def test_flipping_signs_is_the_exact_test_of_clusters() -> None:
    for gains in ([3, -1, 2, 1, 0], [1, 1, 1], [-4, 4], [0], [5, -2, -2, 1, 1, 3]):
        exact = significance.clustered_mcnemar(np.array(gains))
        assert significance.sign_flip(np.array(gains, dtype=float)) == pytest.approx(exact)
        assert significance.sign_flip(0.1 * np.array(gains)) == pytest.approx(exact), "rounding breaks no tie"
    many = np.random.default_rng(0).integers(-3, 5, size=40)
    drawn = significance.sign_flip(many.astype(float), resamples=4000)
    assert drawn == pytest.approx(significance.clustered_mcnemar(many), abs=0.02)
    assert significance.sign_flip(np.ones(60)) == pytest.approx(1 / 2001)


def test_wilson_agrees_with_the_textbook() -> None:
    # Newcombe (1998), Table I: 81 of 263 -> .2553 to .3662 and 0 of 20 -> 0 to .1611 (score method without correction).
    some, none = stats.rate([True] * 81 + [False] * 182), stats.rate([False] * 20)
    assert (some.low, some.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_unscored_values_are_in_no_denominator() -> None:
    found = stats.rate([True, None, False, None])
    assert (found.value, found.n, found.n_unscored) == (0.5, 2, 2)
    nothing = stats.median([None, None])
    assert (nothing.value, nothing.low, nothing.n, nothing.n_unscored) == (None, None, 0, 2)


def test_repeating_every_row_as_an_epoch_adds_no_certainty() -> None:
    x = np.random.default_rng(0).gamma(2.0, 1.0, size=40)
    once, often = stats.mean(list(x)), stats.mean(list(np.repeat(x, 5)), np.repeat(np.arange(40), 5).astype(str))
    assert once.stderr == pytest.approx(often.stderr)
    hits = list(x > 1.5)
    single, repeated = stats.rate(hits), stats.rate(np.repeat(hits, 5), np.repeat(np.arange(40), 5).astype(str))
    assert repeated.low == pytest.approx(single.low, abs=0.02)
    assert repeated.high == pytest.approx(single.high, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=40), st.sampled_from([0.25, 0.5, 0.75]))
def test_quantile_is_numpys_and_inside_its_interval_of_observed_values(values: list[float], q: float) -> None:
    found = stats.quantile(values, q, resamples=200)
    assert found.value == pytest.approx(float(np.quantile(values, q)))
    assert found.low is not None
    assert found.high is not None
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_clustered_bootstrap_medians_equal_a_literal_resampling() -> None:
    rng = np.random.default_rng(3)
    x, clusters = rng.integers(0, 30, size=60).astype(float), np.sort(rng.integers(0, 12, size=60))
    clusters = np.unique(clusters, return_inverse=True)[1]
    counts = next(resampled_counts(int(clusters.max()) + 1, 50, 0, 60))
    fast = quantile_of_counts(x, clusters, 0.5)(counts)
    literal = [np.median(np.concatenate([np.repeat(x[clusters == g], k) for g, k in enumerate(row)])) for row in counts]
    assert fast == pytest.approx(literal)


def test_no_differing_pair_is_not_certainty() -> None:
    same = {str(i): [1.0] for i in range(20)}
    found = stats.paired_difference(same, same, unit="fraction")
    assert found.value == 0
    assert found.high is not None
    assert found.high > 0.05


def test_pairs_are_of_items_scored_on_both_sides() -> None:
    found = stats.paired_difference({"a": [1.0, 3.0], "b": [1.0], "c": []}, {"a": [4.0], "c": [1.0]}, unit="tokens")
    assert (found.value, found.n, found.n_unscored) == (2.0, 1, 2)


def test_ratio_to_a_zero_base_is_none() -> None:
    assert stats.paired_ratio({"a": [0.0], "b": [0.0]}, {"a": [1.0], "b": [1.0]}).value is None


def test_mcnemar_is_the_binomial_test_of_discordant_pairs() -> None:
    assert significance.mcnemar(0, 0) == 1.0
    assert significance.mcnemar(0, 6) == pytest.approx(2 * 0.5**6)
    base = {str(i): [1.0] for i in range(10)}
    other = {str(i): [float(i >= 6)] for i in range(10)}
    assert stats.paired_p(base, other) == (pytest.approx(2 * 0.5**6), "mcnemar")
    p, test = stats.paired_p({k: [0.5] for k in base}, other)
    assert (p, test) == (pytest.approx(772 / 1024), "sign-flip")  # as many as 6 or as few as 4 of 10, of a fair coin


def test_weighted_mean_with_equal_weights_is_the_mean() -> None:
    x = list(np.random.default_rng(2).uniform(size=30))
    plain, weighted = stats.mean(x), stats.weighted_mean(x, [2.0] * 30)
    assert (weighted.value, weighted.low) == (pytest.approx(plain.value), pytest.approx(plain.low))
    gaps = stats.weighted_mean([1.0, None, 0.0], [1, 1, 3])
    assert (gaps.value, gaps.n, gaps.n_unscored) == (0.25, 2, 1)
    assert stats.weighted_mean([None], [None]).value is None


def test_holm_by_hand_and_untested_families() -> None:
    # Smallest first: 3 x .01, 2 x .02, 1 x .03 raised to what came before.
    assert significance.holm([0.03, None, 0.01, 0.02]) == [
        pytest.approx(0.04),
        None,
        pytest.approx(0.03),
        pytest.approx(0.04),
    ]
    assert significance.holm([None]) == [None]


def test_same_input_same_interval() -> None:
    x = list(np.random.default_rng(5).lognormal(size=30))
    assert stats.median(x) == stats.median(x)
