"""Length against a reference: is the model shorter, by how much, and which kinds of answers are left?"""

from collections.abc import Sequence

from copsd_bench.collapse.rows import Rows, RowValue, Summary, mean_of, rate_of, score, values_by_id
from copsd_bench.records import stats
from copsd_bench.records.schema import Estimate, SampleRow

LONGEST: dict[str, float] = {"short": 30, "explanation": 150, "long": 400, "verbose": float("inf")}
"""Most tokens of an answer of each kind, shortest first.

The rule is ours: up to 30 tokens is a sentence or two, up to 150 a paragraph, up to 400 a page of a phone, and more is
verbose. (COPSD, arXiv 2606.03089, has a language model sort answers into four such kinds and does not say how.)
"""


def is_kind(kind: str, tokens: int | None, truncated: bool | None) -> bool | None:
    """Whether an answer is of a kind of `LONGEST`.

    Args:
        kind: key of `LONGEST`.
        tokens: its length; None is not known.
        truncated: it was cut there: it is at least that long, and whether it is of this or a longer kind is not known.
    """
    if tokens is None:
        return None
    names = list(LONGEST)
    reached = next(i for i, name in enumerate(names) if tokens <= LONGEST[name])
    asked = names.index(kind)
    if truncated and reached < len(names) - 1:
        return None if asked >= reached else False
    return asked == reached


def summary(rows: Rows) -> Summary:
    """Ratios of mean and median tokens (paired on prompts), and the shares of the kinds of answers on both sides."""
    metrics: dict[str, Estimate] = {}
    for suffix, part in rows.by_group():
        mine, theirs = (values_by_id(side, _tokens) for side in (part.model, part.reference))
        metrics[f"length_ratio{suffix}"] = stats.paired_ratio(theirs, mine, of="mean")
        metrics[f"median_ratio{suffix}"] = stats.paired_ratio(theirs, mine, of="median")
    for prefix, side in (("", rows.model), ("reference_", rows.reference)):
        metrics[f"{prefix}tokens"] = mean_of(side, _tokens, "tokens")
        metrics |= {f"{prefix}{kind}": rate_of(side, _of_kind(kind)) for kind in LONGEST}
        metrics[f"{prefix}truncated"] = rate_of(side, lambda row: row.truncated)
        metrics[f"{prefix}empty"] = rate_of(side, score("empty"))
    return Summary(metrics, notes=_notes(rows))


def _notes(rows: Rows) -> list[str]:
    notes = []
    for name, side in (("model", rows.model), ("reference", rows.reference)):
        if count := sum(row.scores.get("empty") == 1 for row in side):
            notes.append(f"{count} of {len(side)} answers of the {name} say nothing")
        cut = _share_cut(side)
        if cut > 0.2:
            notes.append(f"{cut:.0%} of the {name}'s answers hit the token limit: lengths there are lower bounds")
    return notes


def _share_cut(side: Sequence[SampleRow]) -> float:
    known = [row.truncated for row in side if row.truncated is not None]
    return sum(known) / len(known) if known else 0.0


def _tokens(row: SampleRow) -> stats.Value:
    return row.output_tokens


def _of_kind(kind: str) -> RowValue:
    return lambda row: is_kind(kind, row.output_tokens, row.truncated)
