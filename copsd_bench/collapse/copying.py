"""Copying: does an answer repeat the constitution it was conditioned on? Tells contraction from leaking the context."""

from difflib import SequenceMatcher

from copsd_bench.collapse.rows import Rows, Summary, mean_of, score, values_by_id
from copsd_bench.collapse.text import words
from copsd_bench.records import stats
from copsd_bench.records.schema import Estimate

SCORES = {"jaccard": "score", "longest_span": "words"}
"""Scores with their units."""


def jaccard(context: str, answer: str) -> float | None:
    """Distinct words in both texts over distinct words in either, in [0, 1]; None when the answer has no word."""
    a, b = set(words(context)), set(words(answer))
    return len(a & b) / len(a | b) if b else None


def longest_span(context: str, answer: str) -> int:
    """Words of the longest run of words that stands in both texts; case and punctuation do not count."""
    a, b = words(context), words(answer)
    return SequenceMatcher(None, a, b, autojunk=False).find_longest_match(0, len(a), 0, len(b)).size


def copying_scores(context: str, answer: str) -> dict[str, float | None]:
    """Both overlaps of one answer."""
    return {"jaccard": jaccard(context, answer), "longest_span": float(longest_span(context, answer))}


def summary(rows: Rows) -> Summary:
    """Overlap with the context on both sides, and how it changed, paired on prompts."""
    metrics: dict[str, Estimate] = {}
    for name, unit in SCORES.items():
        metrics[name] = mean_of(rows.model, score(name), unit)
        metrics[f"reference_{name}"] = mean_of(rows.reference, score(name), unit)
        mine, theirs = (values_by_id(side, score(name)) for side in (rows.model, rows.reference))
        metrics[f"{name}_change"] = stats.paired_difference(theirs, mine, unit=unit)
    return Summary(metrics)
