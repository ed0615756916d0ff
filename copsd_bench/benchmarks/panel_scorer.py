"""The collapse panel as an Inspect scorer: it stands beside the score of every task."""

import math

from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.answer import answer_of, panel_values, request_of
from copsd_bench.judges.protocol import Unscored
from copsd_bench.judges.registry import get_judge
from copsd_bench.records.panel import REFUSED

NAME = "panel"
TEXTS = ("refusal", "answer_digest")
"""Panel fields that are no numbers; they go into the score's metadata."""


@scorer(metrics={"*": [mean()]}, name=NAME)
def panel() -> Scorer:
    """Length, truncation, refusal (offline judge), loops, diversity, entropy of each answer.

    The score's value holds the numbers (NaN: not known), its metadata the refusal label and the answer's digest. Of a
    sample for which nothing was generated nothing is known.
    """
    judge = get_judge("refusal")

    async def score(state: TaskState, target: Target) -> Score:
        if not state.output.choices:
            # Log-likelihoods were compared, nothing was generated: nothing is known of an answer.
            return Score(value={"output_tokens": math.nan}, metadata={"refusal": None, "answer_digest": ""})
        verdict = judge.batch([request_of(state)], [state.output.completion])[0]
        values = panel_values(answer_of(state.output), verdict)
        texts = {name: values.pop(name) for name in TEXTS}
        refused = None if texts["refusal"] is None else texts["refusal"] in REFUSED
        return Score(
            value={k: math.nan if v is None else float(v) for k, v in {**values, "refused": refused}.items()},
            explanation="not judged" if isinstance(verdict, Unscored) else f"{verdict.label}: {verdict.reason}",
            metadata=texts,
        )

    return score
