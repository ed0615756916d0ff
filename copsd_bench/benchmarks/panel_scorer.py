"""The collapse panel as an Inspect scorer: it stands beside the score of every task."""

import hashlib
import math
from typing import Any

from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from copsd_bench.collapse.text import distinct_n, loops, repetition
from copsd_bench.judges.protocol import Unscored
from copsd_bench.judges.registry import get_judge

REFUSED = ("full_refusal", "partial_refusal")
NAME = "panel"


@metric
def panel_means() -> Metric:
    """Mean of each panel number over the samples that have it; records add intervals and prompt classes."""

    def means(scores: list[SampleScore]) -> Value:
        columns: dict[str, list[float]] = {}
        for sample in scores:
            for name, value in (sample.score.metadata or {}).items():
                if isinstance(value, bool | int | float):
                    columns.setdefault(name, []).append(float(value))
        return {name: sum(values) / len(values) for name, values in columns.items()}

    return means


@scorer(metrics=[panel_means()], name=NAME)
def panel() -> Scorer:
    """Length, truncation, refusal (offline judge), loops, diversity, entropy of each answer.

    The score's value is the number of output tokens; the panel's numbers are its metadata.
    """
    judge = get_judge("refusal")

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion
        verdict = judge.batch([state.input_text], [answer])[0]
        refusal = None if isinstance(verdict, Unscored) else verdict
        usage = state.output.usage
        # An API that reports no usage gives an unknown length, never a zero.
        tokens = usage.output_tokens if usage and usage.total_tokens else None
        known = state.output.stop_reason in ("stop", "max_tokens", "model_length", "content_filter")
        numbers: dict[str, Any] = {
            "output_tokens": tokens,
            "input_tokens": usage.input_tokens if usage and usage.total_tokens else None,
            "truncated": state.output.stop_reason in ("max_tokens", "model_length") if known else None,
            "refused": None if refusal is None else refusal.label in REFUSED,
            "refusal": None if refusal is None else refusal.label,
            "refusal_score": None if refusal is None else refusal.score,
            "loops": loops(answer),
            "distinct_1": distinct_n(answer, 1),
            "distinct_2": distinct_n(answer, 2),
            "repetition": repetition(answer),
            "mean_entropy": (state.output.metadata or {}).get("mean_entropy"),
            "mean_logprob": (state.output.metadata or {}).get("mean_logprob"),
            "answer_digest": hashlib.sha256(answer.encode()).hexdigest(),
        }
        why = "not judged" if refusal is None else f"{refusal.label}: {refusal.reason}"
        return Score(value=math.nan if tokens is None else tokens, explanation=why, metadata=numbers)

    return score
