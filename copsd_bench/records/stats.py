"""Statistics of records, in one place. Rows of one cluster are never independent: the epochs of an item, and the items
that ask about one image (`SampleRow.cluster`).

| quantity | estimator of the 95 % interval |
|---|---|
| rate | Wilson; with clusters on the effective sample size of Korn and Graubard (1998) |
| mean, weighted mean | Student t; with clusters or weights the cluster-robust (CR1) standard error |
| median, quantile | bootstrap over clusters |
| paired difference of 0s and 1s | Bonett and Price (2012): Wald with one pair added each way; clusters as for a rate |
| other paired differences | paired bootstrap over clusters; below 10 clusters Student t, cluster-robust |
| paired ratios | paired bootstrap; below 10 clusters Student t on the log scale, with the bootstrap's standard error |

The bootstrap and its intervals are explained in `records/bootstrap.py`. What they cover in simulation, by
`python -m pytest tests/records/test_stats.py`: all 93 to 97 % on 40 items and more (100 for the ratio of medians). Of
2 to 12 items (or images), paired differences cover 93 to 96 %, ratios of means 92 to 95 %, and ratios of medians are
cautious (95 to 99 %, 97 to 98 % at 80); so is a rate with ties.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from copsd_bench.records.bootstrap import (
    FEW,
    LEVEL,
    RESAMPLES,
    Floats,
    Ints,
    bootstrap_estimate,
    mean_of_counts,
    quantile_of_counts,
    resampled,
    student_quantile,
)
from copsd_bench.records.schema import Estimate
from copsd_bench.records.significance import clustered_mcnemar, mcnemar, sign_flip

Value = float | bool | None
ById = Mapping[str, Sequence[float]]
"""Scored values of each item over its epochs; an item that has none is there with an empty list."""
Clusters = Mapping[str, str]
"""The cluster of each item; an item that is not in it is one of its own."""


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
        outcomes: one boolean (or 0 / 1) a row; None is unscored and in no denominator. A half (a tie) is counted as if
            it varied like a whole: the interval is then cautious, never too short.
        ids: cluster of each row; with repeated ones the interval rests on an effective number of rows.
    """
    x, clusters, unscored = _scored(outcomes, ids)
    n = len(x)
    if not n:
        return Estimate(value=None, n=0, n_unscored=unscored, method="wilson")
    from statsmodels.stats.proportion import proportion_confint

    p = float(x.mean())
    stderr, groups = (p * (1 - p) / n) ** 0.5, int(clusters.max()) + 1
    if 1 < groups < n:
        stderr = _cluster_stderr(x, clusters)
    n_eff = _effective_n(p * (1 - p), stderr, n, groups)
    low, high = proportion_confint(p * n_eff, n_eff, alpha=1 - LEVEL, method="wilson")
    method = "wilson" if groups == n else "wilson-clustered"
    return Estimate(value=p, n=n, n_unscored=unscored, stderr=stderr, low=float(low), high=float(high), method=method)


def mean(values: Sequence[Value], ids: Sequence[str] | None = None, unit: str = "score") -> Estimate:
    """Mean with a Student interval; cluster-robust when ids repeat. One cluster alone has no interval."""
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
    half = student_quantile(groups - 1) * stderr
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
    half = student_quantile(groups - 1) * stderr
    return Estimate(value=centre, stderr=stderr, low=centre - half, high=centre + half, **found)


def median(values: Sequence[Value], ids: Sequence[str] | None = None, unit: str = "score") -> Estimate:
    """Median with a bootstrap interval over clusters."""
    return quantile(values, 0.5, ids, unit)


def quantile(
    values: Sequence[Value],
    q: float,
    ids: Sequence[str] | None = None,
    unit: str = "score",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Quantile `q` (linear between order statistics, as numpy's default) with a bootstrap interval over clusters."""
    x, clusters, unscored = _scored(values, ids)
    if not len(x):
        return Estimate(value=None, n=0, n_unscored=unscored, method="bootstrap", unit=unit)
    groups = int(clusters.max()) + 1
    statistic = quantile_of_counts(x, clusters, q)
    draws = resampled(groups, statistic, resamples, seed, width=len(x))
    return bootstrap_estimate(float(np.quantile(x, q)), draws, groups, len(x), unscored, unit)


def paired_difference(
    base: ById,
    other: ById,
    unit: str = "score",
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Mean over items of `other - base`, each averaged over its epochs. Items scored on one side only are unscored.

    Where every value is 0 or 1 the interval is Bonett and Price's, which stays honest when no item differs (a bootstrap
    would then claim certainty); otherwise it is the paired bootstrap, below 10 clusters Student's on the clusters'
    differences. One cluster alone has none.
    """
    x, y, owners, unscored = _item_means(base, other, clusters)
    n, groups = len(x), len(set(owners))
    binary = all(value in (0, 1) for side in (base, other) for values in side.values() for value in values)
    method = "bootstrap" if not binary else "bonett-price" if groups == n else "bonett-price-clustered"
    if not n:
        return Estimate(value=None, n=0, n_unscored=unscored, method=method, unit=unit)
    d = y - x
    value = float(d.mean())
    if binary:
        clustered = _cluster_stderr(d, owners) if 1 < groups < n else 0.0
        pairs = _effective_n(float(d.var()), clustered, n, groups)
        centre, square = pairs * value / (pairs + 2), (pairs * float((d**2).mean()) + 2) / (pairs + 2)
        stderr = ((square - centre**2) / (pairs + 2)) ** 0.5
        low, high = max(centre - _z() * stderr, -1.0), min(centre + _z() * stderr, 1.0)
        return Estimate(
            value=value, n=n, n_unscored=unscored, stderr=stderr, low=low, high=high, method=method, unit=unit
        )
    if groups < FEW:
        method = "t" if groups == n else "t-clustered"
        few = Estimate(value=value, n=n, n_unscored=unscored, method=method, unit=unit)
        if groups > 1:
            few.stderr = _cluster_stderr(d, owners)
            half = student_quantile(groups - 1) * few.stderr
            few.low, few.high = value - half, value + half
        return few
    draws = resampled(groups, mean_of_counts(d, owners), resamples, seed, width=groups)
    return bootstrap_estimate(value, draws, groups, n, unscored, unit)


def paired_ratio(
    base: ById,
    other: ById,
    of: Literal["mean", "median"] = "median",
    clusters: Clusters | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Ratio of medians or means, `other / base`, over the items scored in both, with a paired bootstrap interval.

    Below 10 clusters the interval is Student's about the log of the ratio, with the spread of the bootstrap's (times
    G / (G - 1) in variance, for G clusters); there is none for one cluster, or where a resample's ratio is 0 or none.
    A zero base gives no ratio (value None).
    """
    common, owners, unscored = _common(base, other, clusters)
    if not common:
        return Estimate(value=None, n=0, n_unscored=unscored, method="bootstrap", unit="ratio")
    groups = len(set(owners))
    sides = [_rows(side, common, owners) for side in (base, other)]
    build = mean_of_counts if of == "mean" else lambda x, owner: quantile_of_counts(x, owner, 0.5)
    bottom, top = (build(x, owner) for x, owner in sides)
    ones = np.ones((1, groups), dtype=np.int64)
    base_value, other_value = float(bottom(ones)[0]), float(top(ones)[0])
    if base_value == 0:
        return Estimate(value=None, n=len(common), n_unscored=unscored, method="bootstrap", unit="ratio")

    def ratio(counts: Ints) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            result: Floats = top(counts) / bottom(counts)
        return np.where(np.isnan(result), 1.0, result)  # 0 / 0 in a resample: both sides empty, no change

    value = other_value / base_value
    draws = resampled(groups, ratio, resamples, seed, width=max(len(x) for x, _ in sides))
    if groups >= FEW:
        return bootstrap_estimate(value, draws, groups, len(common), unscored, "ratio")
    few = Estimate(value=value, n=len(common), n_unscored=unscored, method="t-log", unit="ratio")
    if groups > 1 and (draws > 0).all() and np.isfinite(draws).all():
        spread = float(np.log(draws).std() * (groups / (groups - 1)) ** 0.5)
        factor = float(np.exp(student_quantile(groups - 1) * spread))
        few.stderr, few.low, few.high = value * spread, value / factor, value * factor
    return few


def paired_p(
    base: ById, other: ById, clusters: Clusters | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float | None, str]:
    """p-value of "no difference" and the test's name: exact McNemar if every item is 0 or 1, else `sign_flip`.

    Both give each cluster's difference either sign. There is no test of graded scores on one cluster alone.
    """
    x, y, owners, _ = _item_means(base, other, clusters)
    if not len(x):
        return None, ""
    d, groups = y - x, len(set(owners))
    if np.isin(x, (0.0, 1.0)).all() and np.isin(y, (0.0, 1.0)).all():
        if groups == len(d):
            return mcnemar(int((d == -1).sum()), int((d == 1).sum())), "mcnemar"
        return clustered_mcnemar(np.bincount(owners, weights=d).astype(np.int64)), "mcnemar-clustered"
    if groups == 1:
        return None, ""
    return sign_flip(np.bincount(owners, weights=d).astype(np.float64), resamples, seed), "sign-flip"


def _scored(values: Sequence[Value], ids: Sequence[str] | None) -> tuple[Floats, Ints, int]:
    """Scored values, the cluster index of each (0 ... G - 1), and how many were unscored."""
    names = ids if ids is not None else range(len(values))
    kept = [(float(value), name) for value, name in zip(values, names, strict=True) if value is not None]
    x = np.array([value for value, _ in kept], dtype=np.float64)
    return x, cluster_index([name for _, name in kept]), len(values) - len(kept)


def cluster_index(names: Sequence[Hashable]) -> Ints:
    """The number of each row's cluster, 0 ... G - 1 in order of appearance."""
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([index[name] for name in names], dtype=np.int64)


def _common(base: ById, other: ById, clusters: Clusters | None) -> tuple[list[str], Ints, int]:
    """The items scored on both sides, the cluster index of each, and how many are not."""
    common = [item for item, values in base.items() if values and other.get(item)]
    owners = cluster_index([(clusters or {}).get(item, item) for item in common])
    return common, owners, len(base.keys() | other.keys()) - len(common)


def _rows(side: ById, items: Sequence[str], owners: Ints) -> tuple[Floats, Ints]:
    x = np.array([value for item in items for value in side[item]], dtype=np.float64)
    return x, np.repeat(owners, [len(side[item]) for item in items])


def _item_means(base: ById, other: ById, clusters: Clusters | None) -> tuple[Floats, Floats, Ints, int]:
    common, owners, unscored = _common(base, other, clusters)
    means = ([float(np.mean(side[item])) for item in common] for side in (base, other))
    x, y = (np.array(side, dtype=np.float64) for side in means)
    return x, y, owners, unscored


def _effective_n(variance: float, stderr: float, n: int, groups: int) -> float:
    """How many independent rows tell as much as `n` rows in `groups` clusters: `variance / stderr**2`.

    `variance` is of the rows, `stderr` the cluster-robust one of their mean; corrected for the clusters' degrees of
    freedom (Korn and Graubard 1998). Rows without spread say nothing about their correlation: then only clusters count.
    """
    if groups == n:
        return float(n)
    n_eff = variance / stderr**2 if stderr > 0 and groups > 1 else float(groups)
    if groups > 1:
        n_eff *= (student_quantile(n - 1) / student_quantile(groups - 1)) ** 2
    return min(max(n_eff, 1.0), float(n))


def _cluster_stderr(x: Floats, clusters: Ints) -> float:
    """CR1 standard error of a mean; with one row a cluster it is the usual s / sqrt(n)."""
    sums = np.bincount(clusters, weights=x - x.mean())
    groups = len(sums)
    return float((groups / (groups - 1) * (sums**2).sum()) ** 0.5 / len(x))


def _z() -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + LEVEL) / 2))
