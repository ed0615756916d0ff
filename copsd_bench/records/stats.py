"""Statistics of records, in one place. Rows of one benchmark item (its epochs) are one cluster, never independent.

| quantity | estimator of the 95 % interval |
|---|---|
| rate | Wilson; with epochs on the effective sample size of Korn and Graubard (1998) |
| mean, weighted mean | Student t; with epochs or weights the cluster-robust (CR1) standard error |
| median, quantile | bootstrap over items |
| paired difference of rates (values 0 or 1) | Bonett and Price (2012): Wald after adding one pair each way |
| other paired differences, ratios | paired bootstrap over items |

Bootstrap intervals are percentiles, widened for small samples after Hesterberg (2015, "What Teachers Should Know about
the Bootstrap"): the tail is `Phi(-t * sqrt(n / (n - 1)))` with `t` the Student quantile on n - 1 degrees of freedom.
The seed is fixed, so the same record always gives the same numbers. In simulation (tests/records/test_stats.py) all
cover 93 to 97 %; a ratio of medians on fewer than about 100 items is cautious (97 to 98 % at 80).
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from copsd_bench.records.schema import Estimate

LEVEL = 0.95
RESAMPLES = 2000
_CHUNK = 4_000_000  # numbers held at once by a bootstrap

Value = float | bool | None
ById = Mapping[str, Sequence[float]]
"""Scored values of each item over its epochs; an item that has none is there with an empty list."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def by_id(values: Sequence[Value], ids: Sequence[str]) -> dict[str, list[float]]:
    """Values grouped by item; None (unscored) is left out, its item is not."""
    groups: dict[str, list[float]] = {}
    for value, item in zip(values, ids, strict=True):
        scored = groups.setdefault(item, [])
        if value is not None:
            scored.append(float(value))
    return groups


def rate(outcomes: Sequence[Value], ids: Sequence[str] | None = None) -> Estimate:
    """Share of successes with a Wilson interval.

    Args:
        outcomes: one boolean (or 0 / 1) a row; None is unscored and in no denominator.
        ids: item of each row; repeated ids (epochs) are clusters, and the interval rests on
            `n_eff = p (1 - p) / se_cluster**2`, corrected for the clusters' degrees of freedom.
    """
    x, clusters, unscored = _scored(outcomes, ids)
    n = len(x)
    if not n:
        return Estimate(value=None, n=0, n_unscored=unscored, method="wilson")
    from statsmodels.stats.proportion import proportion_confint

    p = float(x.mean())
    stderr, n_eff, groups = (p * (1 - p) / n) ** 0.5, float(n), int(clusters.max()) + 1
    if groups < n:
        stderr = _cluster_stderr(x, clusters) if groups > 1 else stderr
        # Without spread the rows say nothing about their correlation: then only whole items count.
        n_eff = p * (1 - p) / stderr**2 if stderr > 0 and groups > 1 else float(groups)
        if groups > 1:
            n_eff *= (_t(n - 1) / _t(groups - 1)) ** 2
        n_eff = min(max(n_eff, 1.0), float(n))
    low, high = proportion_confint(p * n_eff, n_eff, alpha=1 - LEVEL, method="wilson")
    method = "wilson" if groups == n else "wilson-clustered"
    return Estimate(value=p, n=n, n_unscored=unscored, stderr=stderr, low=float(low), high=float(high), method=method)


def mean(values: Sequence[Value], ids: Sequence[str] | None = None, unit: str = "score") -> Estimate:
    """Mean with a Student interval; cluster-robust when ids repeat. One item alone has no interval."""
    x, clusters, unscored = _scored(values, ids)
    n = len(x)
    if not n:
        return Estimate(value=None, n=0, n_unscored=unscored, method="t", unit=unit)
    groups = int(clusters.max()) + 1
    method = "t" if groups == n else "t-clustered"
    centre = float(x.mean())
    if groups == 1:
        return Estimate(value=centre, n=n, n_unscored=unscored, method=method, unit=unit)
    stderr = _cluster_stderr(x, clusters)
    half = _t(groups - 1) * stderr
    return Estimate(
        value=centre,
        n=n,
        n_unscored=unscored,
        stderr=stderr,
        low=centre - half,
        high=centre + half,
        method=method,
        unit=unit,
    )


def weighted_mean(
    values: Sequence[Value], weights: Sequence[Value], ids: Sequence[str] | None = None, unit: str = "score"
) -> Estimate:
    """Ratio of sums `sum(w x) / sum(w)`, such as instruction-level accuracy: shares weighted by instructions an item.

    The standard error is the linearised, cluster-robust one: CR1 on `w (x - mean)`. `n` counts rows; a row without a
    value or a weight is unscored.
    """
    pairs = [None if x is None or w is None else (float(x), float(w)) for x, w in zip(values, weights, strict=True)]
    x, clusters, unscored = _scored([None if pair is None else pair[0] for pair in pairs], ids)
    w = np.array([pair[1] for pair in pairs if pair is not None], dtype=np.float64)
    total, groups = float(w.sum()), len(np.unique(clusters))
    found: dict[str, Any] = {"n": len(x), "n_unscored": unscored, "method": "t-weighted", "unit": unit}
    if total <= 0:
        return Estimate(value=None, **found)
    centre = float((w * x).sum() / total)
    if groups < 2:
        return Estimate(value=centre, **found)
    sums = np.bincount(clusters, weights=w * (x - centre))
    stderr = float((groups / (groups - 1) * (sums**2).sum()) ** 0.5 / total)
    half = _t(groups - 1) * stderr
    return Estimate(value=centre, stderr=stderr, low=centre - half, high=centre + half, **found)


def median(values: Sequence[Value], ids: Sequence[str] | None = None, unit: str = "score") -> Estimate:
    """Median with a bootstrap interval over items."""
    return quantile(values, 0.5, ids, unit)


def quantile(
    values: Sequence[Value],
    q: float,
    ids: Sequence[str] | None = None,
    unit: str = "score",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Quantile `q` (linear between order statistics, as numpy's default) with a bootstrap interval over items."""
    x, clusters, unscored = _scored(values, ids)
    if not len(x):
        return Estimate(value=None, n=0, n_unscored=unscored, method="bootstrap", unit=unit)
    groups = int(clusters.max()) + 1
    statistic = _quantile_of_counts(x, clusters, q)
    draws = resampled(groups, statistic, resamples, seed, width=len(x))
    return bootstrap_estimate(float(np.quantile(x, q)), draws, groups, len(x), unscored, unit)


def paired_difference(
    base: ById,
    other: ById,
    unit: str = "score",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Mean over items of `other - base`, each averaged over its epochs. Items scored on one side only are unscored.

    Where every value is 0 or 1 the interval is Bonett and Price's, which stays honest when no item differs (a bootstrap
    would then claim certainty); otherwise it is the paired bootstrap.
    """
    x, y, unscored = _item_means(base, other)
    n = len(x)
    binary = all(value in (0, 1) for side in (base, other) for values in side.values() for value in values)
    method = "bonett-price" if binary else "bootstrap"
    if not n:
        return Estimate(value=None, n=0, n_unscored=unscored, method=method, unit=unit)
    d = y - x
    value = float(d.mean())
    if binary:
        padded = np.concatenate([d, [1.0, -1.0]])
        stderr = float(padded.std() / len(padded) ** 0.5)
        centre, half = float(padded.mean()), _z() * stderr
        low, high = max(centre - half, -1.0), min(centre + half, 1.0)
        return Estimate(
            value=value, n=n, n_unscored=unscored, stderr=stderr, low=low, high=high, method=method, unit=unit
        )
    draws = resampled(n, lambda counts: counts @ d / n, resamples, seed, width=n)
    return bootstrap_estimate(value, draws, n, n, unscored, unit)


def paired_ratio(
    base: ById,
    other: ById,
    of: Literal["mean", "median"] = "median",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Ratio of medians or means, `other / base`, over the items scored in both, with a paired bootstrap interval.

    A zero base gives no ratio (value None).
    """
    common = [item for item, values in base.items() if values and other.get(item)]
    unscored = len(base.keys() | other.keys()) - len(common)
    if not common:
        return Estimate(value=None, n=0, n_unscored=unscored, method="bootstrap", unit="ratio")
    sides = [_rows(side, common) for side in (base, other)]
    build = _mean_of_counts if of == "mean" else lambda x, clusters: _quantile_of_counts(x, clusters, 0.5)
    bottom, top = (build(x, clusters) for x, clusters in sides)
    ones = np.ones((1, len(common)), dtype=np.int64)
    base_value, other_value = float(bottom(ones)[0]), float(top(ones)[0])
    if base_value == 0:
        return Estimate(value=None, n=len(common), n_unscored=unscored, method="bootstrap", unit="ratio")

    def ratio(counts: Ints) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            result: Floats = top(counts) / bottom(counts)
        return np.where(np.isnan(result), 1.0, result)  # 0 / 0 in a resample: both sides empty, no change

    draws = resampled(len(common), ratio, resamples, seed, width=max(len(x) for x, _ in sides))
    return bootstrap_estimate(other_value / base_value, draws, len(common), len(common), unscored, "ratio")


def paired_p(base: ById, other: ById, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float | None, str]:
    """p-value of "no difference" and the test's name: exact McNemar if every item is 0 or 1, else a paired bootstrap.

    The bootstrap p is twice the smaller share of resampled mean differences on the far side of 0, never below
    `2 / (resamples + 1)`.
    """
    x, y, _ = _item_means(base, other)
    if not len(x):
        return None, ""
    if np.isin(x, (0.0, 1.0)).all() and np.isin(y, (0.0, 1.0)).all():
        return mcnemar(int(((x == 1) & (y == 0)).sum()), int(((x == 0) & (y == 1)).sum())), "mcnemar"
    d = y - x
    if not d.any():
        return 1.0, "bootstrap"
    draws = resampled(len(d), lambda counts: counts @ d / len(d), resamples, seed, width=len(d))
    tail = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (resamples + 1)), "bootstrap"


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided McNemar p-value from the discordant pairs (base right / other wrong, and the reverse)."""
    from statsmodels.stats.contingency_tables import mcnemar as exact

    return float(exact([[0, lost], [won, 0]], exact=True).pvalue) if lost + won else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment over one family of tests; None (no test) stays None and is not counted."""
    from statsmodels.stats.multitest import multipletests

    tested = [p for p in p_values if p is not None]
    if not tested:
        return list(p_values)
    adjusted = iter(multipletests(tested, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def _scored(values: Sequence[Value], ids: Sequence[str] | None) -> tuple[Floats, Ints, int]:
    """Scored values, the cluster index of each (0 ... G - 1), and how many were unscored."""
    names = ids if ids is not None else range(len(values))
    kept = [(float(value), name) for value, name in zip(values, names, strict=True) if value is not None]
    x = np.array([value for value, _ in kept], dtype=np.float64)
    return x, cluster_index([name for _, name in kept]), len(values) - len(kept)


def cluster_index(names: Sequence[Hashable]) -> Ints:
    """The number of each row's item, 0 ... G - 1 in order of appearance."""
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([index[name] for name in names], dtype=np.int64)


def _rows(side: ById, items: Sequence[str]) -> tuple[Floats, Ints]:
    x = np.array([value for item in items for value in side[item]], dtype=np.float64)
    return x, np.repeat(np.arange(len(items)), [len(side[item]) for item in items])


def _item_means(base: ById, other: ById) -> tuple[Floats, Floats, int]:
    common = [item for item, values in base.items() if values and other.get(item)]
    means = ([float(np.mean(side[item])) for item in common] for side in (base, other))
    x, y = (np.array(side, dtype=np.float64) for side in means)
    return x, y, len(base.keys() | other.keys()) - len(common)


def _cluster_stderr(x: Floats, clusters: Ints) -> float:
    """CR1 standard error of a mean; with one row a cluster it is the usual s / sqrt(n)."""
    sums = np.bincount(clusters, weights=x - x.mean())
    groups = len(sums)
    return float((groups / (groups - 1) * (sums**2).sum()) ** 0.5 / len(x))


def _quantile_of_counts(x: Floats, clusters: Ints, q: float) -> Callable[[Ints], Floats]:
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


def _mean_of_counts(x: Floats, clusters: Ints) -> Callable[[Ints], Floats]:
    sums, sizes = np.bincount(clusters, weights=x), np.bincount(clusters)
    return lambda counts: counts @ sums / (counts @ sizes)


def resampled(groups: int, statistic: Callable[[Ints], Floats], resamples: int, seed: int, width: int) -> Floats:
    """A statistic of `resamples` draws of clusters with replacement. `width`: rows a draw holds, to bound memory."""
    return np.concatenate([statistic(counts) for counts in _draws(groups, resamples, seed, width)])


def _draws(groups: int, resamples: int, seed: int, width: int) -> Iterator[Ints]:
    """How often each cluster is drawn, [b, G] at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(width, 1))
    for start in range(0, resamples, step):
        b = min(step, resamples - start)
        drawn = rng.integers(0, groups, size=(b, groups)) + np.arange(b)[:, None] * groups
        yield np.bincount(drawn.ravel(), minlength=b * groups).reshape(b, groups)


def bootstrap_estimate(value: float, draws: Floats, groups: int, n: int, unscored: int, unit: str) -> Estimate:
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

    return float(ndtr(-_t(n - 1) * (n / (n - 1)) ** 0.5))


def _t(df: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + LEVEL) / 2))


def _z() -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + LEVEL) / 2))
