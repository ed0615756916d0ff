"""Length matching: of several rewrites a row, take those whose lengths are distributed as the base model's."""

from collections.abc import Sequence

import numpy as np

EDGES = (16, 32, 64, 96, 128, 192, 256, 384, 512, 1024)
"""Upper ends of the bins of a length histogram, in tokens; what is longer goes into a last bin."""


def match_lengths(base: Sequence[int], options: Sequence[Sequence[int]]) -> list[int]:
    """Choose one option a row so that the chosen lengths together follow the base lengths.

    The base's lengths are handed out anew: a linear assignment gives each row one of them, each once, so that the sum
    over rows of |log(option / base length)| of the row's nearest option is the smallest possible. Lengths may move
    between rows; their distribution is what counts (COPSD, arXiv 2606.03089, App. B.1, leaves the method open).

    Args:
        base: tokens of the base model's answer to each row, [rows].
        options: tokens of each row's rewrites, at least one a row.

    Returns:
        The index of the chosen option of each row.

    Raises:
        ValueError: another number of rows, or a row without options.
    """
    from scipy.optimize import linear_sum_assignment

    if len(base) != len(options) or not all(options):
        raise ValueError("match_lengths needs one base length and at least one option a row")
    if not base:
        return []
    targets = np.log(np.maximum(base, 1))
    gaps = [np.abs(np.log(np.maximum(row, 1))[:, None] - targets[None, :]) for row in options]  # [options, targets]
    rows, columns = linear_sum_assignment(np.stack([gap.min(axis=0) for gap in gaps]))
    return [int(gaps[row][:, column].argmin()) for row, column in zip(rows, columns, strict=True)]


def histogram(lengths: Sequence[int]) -> dict[str, int]:
    """Number of lengths in each bin of `EDGES`, by the bin's name: `1-16`, `17-32`, ..., `1025+`."""
    lows = [1, *(edge + 1 for edge in EDGES)]
    names = [f"{low}-{high}" for low, high in zip(lows, EDGES, strict=False)] + [f"{lows[-1]}+"]
    counts = np.bincount(np.searchsorted(EDGES, np.asarray(lengths, dtype=int)), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def histogram_distance(a: Sequence[int], b: Sequence[int]) -> float:
    """Total variation of the two histograms as shares: 0 is the same, 1 is disjoint."""
    if not a or not b:
        return 1.0
    p, q = (np.array(list(histogram(lengths).values())) / len(lengths) for lengths in (a, b))
    return float(np.abs(p - q).sum() / 2)
