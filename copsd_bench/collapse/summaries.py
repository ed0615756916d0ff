"""Which function makes the numbers of which task of the suite `collapse`."""

from collections.abc import Callable

from copsd_bench.collapse import length
from copsd_bench.collapse.rows import Rows, Summary

SUMMARIES: dict[str, Callable[[Rows], Summary]] = {
    "length_collapse": length.summary,
}
"""By task name. A function sees rows only (and what its scorer put into `Rows.details`), so that a record's numbers can
be computed again from the record."""
