"""The bootstrap of records: items drawn with replacement, and the interval its draws give.

Intervals are percentiles, widened for small samples after Hesterberg (2015, "What Teachers Should Know about the
Bootstrap"): the tail is `Phi(-t * sqrt(n / (n - 1)))` with `t` the Student quantile on n - 1 degrees of freedom. The
seed is fixed, so the same record always gives the same numbers. Shapes: B draws, G items (clusters of rows).
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from copsd_bench.records.schema import Estimate

LEVEL = 0.95
RESAMPLES = 2000
FEW = 10
"""Fewer clusters than this are too few to resample for a paired change: its interval is Student's."""
_CHUNK = 4_000_000  # numbers held at once

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def quantile_of_counts(x: Floats, clusters: Ints, q: float) -> Callable[[Ints], Floats]:
    """The quantile of rows repeated as often as their cluster was drawn: counts [B, G] -> values [B]."""
    order = np.argsort(x, kind="stable")
    ordered, owner = x[order], clusters[order]

    def statistic(counts: Ints) -> Floats:
        cumulative = counts[:, owner].cumsum(axis=1)
        last = cumulative[:, -1] - 1
        position = last * q
        lower = np.floor(position).astype(np.int64)
        first = ordered[(cumulative <= lower[:, None]).sum(axis=1)]
        second = ordered[(cumulative <= np.minimum(lower + 1, last)[:, None]).sum(axis=1)]
        return first + (position - lower) * (second - first)

    return statistic


def mean_of_counts(x: Floats, clusters: Ints) -> Callable[[Ints], Floats]:
    """The mean of rows repeated as often as their cluster was drawn: counts [B, G] -> values [B]."""
    sums, sizes = np.bincount(clusters, weights=x), np.bincount(clusters)
    return lambda counts: counts @ sums / (counts @ sizes)


def resampled(groups: int, statistic: Callable[[Ints], Floats], resamples: int, seed: int, width: int) -> Floats:
    """A statistic of `resamples` draws of clusters with replacement. `width`: rows a draw holds, to bound memory."""
    return np.concatenate([statistic(counts) for counts in resampled_counts(groups, resamples, seed, width)])


def resampled_counts(groups: int, resamples: int, seed: int, width: int) -> Iterator[Ints]:
    """How often each cluster is drawn, [b, G] at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(width, 1))
    for start in range(0, resamples, step):
        b = min(step, resamples - start)
        drawn = rng.integers(0, groups, size=(b, groups)) + np.arange(b)[:, None] * groups
        yield np.bincount(drawn.ravel(), minlength=b * groups).reshape(b, groups)


def bootstrap_estimate(value: float, draws: Floats, groups: int, n: int, unscored: int, unit: str) -> Estimate:
    """A value with the interval of its draws; one item alone has none."""
    found: dict[str, Any] = {"value": value, "n": n, "n_unscored": unscored, "method": "bootstrap", "unit": unit}
    if groups < 2:
        return Estimate(**found)
    tail = _expanded_tail(groups)
    # An order statistic, not an interpolation: a resample may be infinite (a ratio to zero).
    low, high = (float(np.quantile(draws, at, method="nearest")) for at in (tail, 1 - tail))
    finite = draws[np.isfinite(draws)]
    return Estimate(
        **found,
        stderr=float(finite.std(ddof=1)) if len(finite) > 1 else None,
        low=low if np.isfinite(low) else None,
        high=high if np.isfinite(high) else None,
    )


def _expanded_tail(n: int) -> float:
    from scipy.special import ndtr

    return float(ndtr(-student_quantile(n - 1) * (n / (n - 1)) ** 0.5))


def student_quantile(df: int) -> float:
    """Two-sided Student quantile at `LEVEL`."""
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + LEVEL) / 2))
