"""Diversity of several rollouts of one prompt: how much a model still varies what it says."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from copsd_bench.collapse.rows import Rows, Summary, mean_by_prompt, mean_of, score, values_by_id
from copsd_bench.collapse.text import empty, words
from copsd_bench.errors import CopsdError
from copsd_bench.records import stats
from copsd_bench.records.schema import Estimate, SampleRow

SELF_BLEU = {"max_ngram_order": 4, "smooth_method": "exp", "effective_order": True, "tokenize": "13a"}
"""sacrebleu's sentence BLEU: n-grams up to 4, exponential smoothing, effective order (a text of two words is not asked
for 4-grams), the tokeniser `13a`, case kept. COPSD reports 1 - Self-BLEU without saying its order or tokeniser."""
DISTINCT = (1, 2, 3)


def self_bleu(answers: Sequence[str]) -> list[float | None]:
    """BLEU of each rollout against all the others of its prompt (Zhu et al. 2018, Texygen, arXiv 1802.01886).

    Returns:
        A fraction in [0, 1] a rollout: 1 repeats another rollout. Empty answers are no text to compare: they are None,
        and nobody's reference; with fewer than two other answers left all are None.

    Raises:
        CopsdError: fewer than two rollouts.
    """
    if len(answers) < 2:
        raise CopsdError("Diversity compares rollouts of a prompt with each other; give --rollouts 2 or more.")
    said = [i for i, answer in enumerate(answers) if not empty(answer)]
    if len(said) < 2:
        return [None] * len(answers)
    scores: list[float | None] = [None] * len(answers)
    for i in said:
        others = [answers[j] for j in said if j != i]
        # Rounding puts a perfect score a hair above 100.
        scores[i] = min(1.0, _bleu().sentence_score(answers[i], others).score / 100)
    return scores


def distinct(answers: Sequence[str], n: int) -> float | None:
    """Distinct word n-grams over all word n-grams of a prompt's rollouts (Li et al. 2016, arXiv 1510.03055).

    It falls with the amount of text, so compare it at like lengths. None when no answer has `n` words.
    """
    grams = [gram for text in map(words, answers) for gram in zip(*(text[i:] for i in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else None


def rollout_scores(answers: Sequence[str], distances: Sequence[float] | None = None) -> list[dict[str, float | None]]:
    """The scores of a prompt's rollouts: `diversity` (1 - Self-BLEU) of each, and what holds for the prompt as a whole.

    Args:
        answers: the prompt's rollouts.
        distances: mean distance of each rollout's embedding to the others', if there are any.
    """
    whole = {f"distinct_{n}": distinct(answers, n) for n in DISTINCT}
    rows: list[dict[str, float | None]] = []
    for i, bleu in enumerate(self_bleu(answers)):
        row: dict[str, float | None] = {"diversity": None if bleu is None else 1 - bleu, **whole}
        rows.append(row if distances is None else row | {"embedding_distance": distances[i]})
    return rows


def summary(rows: Rows) -> Summary:
    """Diversity of both sides and its ratio; distinct-n over a prompt's rollouts; repetition within answers."""
    metrics: dict[str, Estimate] = {}
    for suffix, part in rows.by_group():
        metrics[f"diversity{suffix}"] = mean_of(part.model, score("diversity"), "score")
        metrics[f"reference_diversity{suffix}"] = mean_of(part.reference, score("diversity"), "score")
        metrics[f"diversity_ratio{suffix}"] = _ratio(part)
    for prefix, side in (("", rows.model), ("reference_", rows.reference)):
        metrics |= {f"{prefix}distinct_{n}": mean_by_prompt(side, score(f"distinct_{n}"), "score") for n in DISTINCT}
        metrics[f"{prefix}repetition"] = mean_of(side, _repetition, "score")
        if any("embedding_distance" in row.scores for row in side):
            metrics[f"{prefix}embedding_distance"] = mean_of(side, score("embedding_distance"), "score")
    return Summary(metrics)


def _ratio(rows: Rows) -> Estimate:
    mine, theirs = (values_by_id(side, score("diversity")) for side in (rows.model, rows.reference))
    return stats.paired_ratio(theirs, mine, of="mean")


def _repetition(row: SampleRow) -> stats.Value:
    return row.repetition


@cache
def _bleu() -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError as error:
        raise CopsdError("Self-BLEU needs the package sacrebleu: pip install sacrebleu.") from error
    return BLEU(**SELF_BLEU)
