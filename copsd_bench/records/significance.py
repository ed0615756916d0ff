"""Exact tests of "no difference" between two runs on the same items, and their adjustment for several tests."""

from collections.abc import Sequence

import numpy as np

from copsd_bench.records.bootstrap import RESAMPLES, Floats, Ints

_EXACT = 12  # clusters up to which every combination of signs is tried


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided McNemar p-value from the discordant pairs (base right / other wrong, and the reverse)."""
    from statsmodels.stats.contingency_tables import mcnemar as exact

    return float(exact([[0, lost], [won, 0]], exact=True).pvalue) if lost + won else 1.0


def clustered_mcnemar(gains: Ints) -> float:
    """Exact two-sided p-value from the gain (items won less items lost) of each cluster, shape [G].

    Were there no difference, either run could have given a cluster's answers: the sign of its gain is a coin's, and the
    p-value the chance of a sum as far from 0 (Fisher's randomisation test). With one item a cluster it is McNemar's.
    """
    chances = np.ones(1)  # of each sum of the gains so far, from the lowest possible on
    for step in 2 * np.abs(gains[gains != 0]):
        chances = (np.pad(chances, (step, 0)) + np.pad(chances, (0, step))) / 2
    sums = np.arange(len(chances)) - len(chances) // 2
    return min(1.0, float(chances[np.abs(sums) >= abs(gains.sum())].sum()))


def sign_flip(gains: Floats, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Two-sided p-value from the summed difference of each cluster, shape [G]: the same test for graded scores.

    Every combination of signs is tried for up to 12 clusters that differ; for more, `resamples` drawn ones beside that
    observed, so that p is never below `1 / (resamples + 1)` (Phipson and Smyth 2010).
    """
    gains = gains[gains != 0]
    groups, observed = len(gains), abs(float(gains.sum()))
    least = observed - 1e-9 * float(np.abs(gains).sum())  # equal up to rounding is as far
    if groups <= _EXACT:
        flips = np.arange(1 << groups)[:, None] >> np.arange(groups) & 1
        return float((np.abs((1 - 2 * flips) @ gains) >= least).mean())
    rng = np.random.default_rng(seed)
    far = sum(abs(float((1 - 2 * rng.integers(0, 2, groups)) @ gains)) >= least for _ in range(resamples))
    return (far + 1) / (resamples + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment over one family of tests; None (no test) stays None and is not counted."""
    from statsmodels.stats.multitest import multipletests

    tested = [p for p in p_values if p is not None]
    if not tested:
        return list(p_values)
    adjusted = iter(multipletests(tested, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]
