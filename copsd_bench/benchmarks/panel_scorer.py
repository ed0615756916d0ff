"""The collapse panel as an Inspect scorer: it stands beside the score of every task."""

import hashlib
import math

from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.collapse.text import distinct_n, loops, repetition
from copsd_bench.judges.protocol import Unscored
from copsd_bench.judges.registry import get_judge

REFUSED = ("full_refusal", "partial_refusal")
NAME = "panel"
RECALLED = "responses"
"""Name that stands for the model where answers were recorded, not generated."""


@scorer(metrics={"*": [mean()]}, name=NAME)
def panel() -> Scorer:
    """Length, truncation, refusal (offline judge), loops, diversity, entropy of each answer.

    The score's value holds the numbers (NaN: not known), its metadata the refusal label and the answer's digest. Of a
    sample for which nothing was generated nothing is known.
    """
    judge = get_judge("refusal")

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion
        generated = bool(state.output.choices)
        verdict = judge.batch([state.input_text], [answer])[0]
        refusal = verdict if generated and not isinstance(verdict, Unscored) else None
        usage = state.output.usage
        # An API that reports no usage gives an unknown length, never a zero; a recorded answer may well have none.
        counted = generated and usage is not None and (usage.total_tokens > 0 or state.output.model == RECALLED)
        tokens = usage.output_tokens if usage is not None and counted else None
        known = generated and state.output.stop_reason in ("stop", "max_tokens", "model_length", "content_filter")
        numbers = {
            "output_tokens": tokens,
            "input_tokens": usage.input_tokens if usage and usage.input_tokens else None,
            "truncated": state.output.stop_reason in ("max_tokens", "model_length") if known else None,
            "refused": None if refusal is None else refusal.label in REFUSED,
            "refusal_score": None if refusal is None else refusal.score,
            "loops": loops(answer) if generated else None,
            "distinct_1": distinct_n(answer, 1) if generated else None,
            "distinct_2": distinct_n(answer, 2) if generated else None,
            "repetition": repetition(answer) if generated else None,
            "mean_entropy": (state.output.metadata or {}).get("mean_entropy"),
            "mean_logprob": (state.output.metadata or {}).get("mean_logprob"),
        }
        return Score(
            value={name: math.nan if value is None else float(value) for name, value in numbers.items()},
            explanation="not judged" if refusal is None else f"{refusal.label}: {refusal.reason}",
            metadata={
                "refusal": None if refusal is None else refusal.label,
                "answer_digest": hashlib.sha256(answer.encode()).hexdigest() if generated else "",
            },
        )

    return score
