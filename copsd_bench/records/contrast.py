"""Contrasts of estimates, and how two numbers of a prompt move together; with 95 % intervals over prompts."""

from collections.abc import Callable, Sequence
from math import hypot

import numpy as np

from copsd_bench.records.schema import Estimate
from copsd_bench.records.stats import RESAMPLES, Floats, Ints, Value, bootstrap_estimate, cluster_index, resampled


def difference(a: Estimate, b: Estimate) -> Estimate:
    """`a - b` of two estimates on different prompts.

    The interval is recovered from theirs (MOVER; Zou and Donner 2008, "Construction of confidence limits about effect
    measures", eq. 3 and 4; with Wilson limits it is Newcombe's hybrid score interval for two rates): a side's distance
    to its own limit plays the part of its standard error.
    """
    n, unscored = a.n + b.n, a.n_unscored + b.n_unscored
    if a.value is None or b.value is None:
        return Estimate(value=None, n=n, n_unscored=unscored, method="mover", unit=a.unit)
    value = a.value - b.value
    found = Estimate(value=value, n=n, n_unscored=unscored, method="mover", unit=a.unit)
    if a.stderr is not None and b.stderr is not None:
        found.stderr = hypot(a.stderr, b.stderr)
    if a.low is not None and a.high is not None and b.low is not None and b.high is not None:
        found.low = value - hypot(a.value - a.low, b.high - b.value)
        found.high = value + hypot(a.high - a.value, b.value - b.low)
    return found


def correlation(x: Sequence[Value], y: Sequence[Value], ids: Sequence[str], resamples: int = RESAMPLES) -> Estimate:
    """Pearson's correlation over rows, with a bootstrap over items; None where one of the two does not vary."""
    return _moment_statistic(x, y, ids, _pearson, resamples)


def slope(
    x: Sequence[Value], y: Sequence[Value], ids: Sequence[str], unit: str = "score", resamples: int = RESAMPLES
) -> Estimate:
    """Least-squares slope of y on x over rows, with a bootstrap over items; None where x does not vary."""
    return _moment_statistic(x, y, ids, _slope, resamples, unit)


def intercept(
    x: Sequence[Value], y: Sequence[Value], ids: Sequence[str], unit: str = "score", resamples: int = RESAMPLES
) -> Estimate:
    """The least-squares line's y at x = 0; the mean of y where x does not vary."""
    return _moment_statistic(x, y, ids, _intercept, resamples, unit)


def _moment_statistic(
    x: Sequence[Value],
    y: Sequence[Value],
    ids: Sequence[str],
    statistic: Callable[[Floats], Floats],
    resamples: int,
    unit: str = "score",
) -> Estimate:
    """A function of the rows' moments [..., 6] (n, x, y, x², y², xy), resampled over items."""
    kept = [(float(a), float(b), i) for a, b, i in zip(x, y, ids, strict=True) if a is not None and b is not None]
    unscored = len(ids) - len(kept)
    if not kept:
        return Estimate(value=None, n=0, n_unscored=unscored, method="bootstrap", unit=unit)
    a, b = (np.array([row[column] for row in kept], dtype=np.float64) for column in (0, 1))
    clusters = cluster_index([row[2] for row in kept])
    groups = int(clusters.max()) + 1
    rows = np.stack([np.ones_like(a), a, b, a**2, b**2, a * b])
    sums = np.stack([np.bincount(clusters, weights=row, minlength=groups) for row in rows], axis=1)  # [G, 6]
    value = float(statistic(sums.sum(axis=0)))
    if np.isnan(value):
        return Estimate(value=None, n=len(kept), n_unscored=unscored, method="bootstrap", unit=unit)

    def redrawn(counts: Ints) -> Floats:
        drawn = statistic(counts.astype(np.float64) @ sums)
        return np.where(np.isnan(drawn), value, drawn)  # a resample in which nothing varies says nothing

    draws = resampled(groups, redrawn, resamples, 0, groups)
    return bootstrap_estimate(value, draws, groups, len(kept), unscored, unit)


def _spread(m: Floats) -> tuple[Floats, Floats, Floats]:
    """Sums of squares of x and of y and of products, about the means; squares below rounding are 0."""
    n, x, y, xx, yy, xy = np.moveaxis(m, -1, 0)
    squares = (raw - total**2 / n for raw, total in ((xx, x), (yy, y)))
    sxx, syy = (np.where(s > 1e-12 * raw, s, 0.0) for s, raw in zip(squares, (xx, yy), strict=True))
    return sxx, syy, xy - x * y / n


def _pearson(m: Floats) -> Floats:
    sxx, syy, sxy = _spread(m)
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.where((sxx > 0) & (syy > 0), sxy / np.sqrt(sxx * syy), np.nan)
    return np.clip(result, -1.0, 1.0)


def _slope(m: Floats) -> Floats:
    sxx, _, sxy = _spread(m)
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.where(sxx > 0, sxy / sxx, np.nan)
    return result


def _intercept(m: Floats) -> Floats:
    n, x, y = m[..., 0], m[..., 1], m[..., 2]
    result: Floats = (y - np.nan_to_num(_slope(m)) * x) / n
    return result
