"""Which function makes the numbers of which task of the suite `collapse`."""

from collections.abc import Callable

from copsd_bench.collapse import copying, divergence, diversity, leakage, length, pairwise, refusal
from copsd_bench.collapse.rows import Rows, Summary

SUMMARIES: dict[str, Callable[[Rows], Summary]] = {
    "length_collapse": length.summary,
    "refusal_collapse": refusal.summary,
    "kl_direction": divergence.summary,
    "diversity_collapse": diversity.summary,
    "copying": copying.summary,
    "leakage": leakage.summary,
    "pairwise_help": pairwise.summary,
    "pairwise_harmless": pairwise.summary,
}
"""By task name. A function sees rows only (and what its scorer put into `Rows.details`), so that a record's numbers can
be computed again from the record."""
