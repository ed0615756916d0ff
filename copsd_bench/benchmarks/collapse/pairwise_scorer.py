"""The model's answers against the reference's, by a pairwise judge: what both pairwise tasks are made of."""

from typing import Any

from inspect_ai import Task
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, Scorer, Target
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.answer import request_of
from copsd_bench.benchmarks.collapse.rollouts import read_rollouts, rollout_settings
from copsd_bench.benchmarks.collapse.scoring import Scores, rollout_score
from copsd_bench.benchmarks.collapse.task import rollout_task
from copsd_bench.judges.pairwise import POINTS, Comparison, ModelJudge, compare
from copsd_bench.judges.pairwise_prompts import Aspect
from copsd_bench.judges.protocol import Unscored

GRADER = "grader"
"""Inspect model role of the judge."""


def pairwise_task(name: str, settings: dict[str, Any], scorer: Scorer) -> Task:
    """A pairwise task; its judge is the model in the role `grader`."""
    return rollout_task(name, rollout_settings(settings), scorer, "win_rate", ["lose"], {"win_rate": GRADER})


def preferences(aspect: Aspect) -> Scorer:
    """`win_rate` of each rollout against the reference's rollout of the same number: 1, 0.5 or 0; unscored is None."""

    async def score(state: TaskState, target: Target) -> Score:
        judge = ModelJudge(get_model(role=GRADER, required=True), aspect)
        pair = read_rollouts(state)
        answers, others = ([answer.text for answer in side] for side in (pair.model, pair.reference))
        found = await compare(judge, [request_of(state)] * len(answers), answers, others)
        return rollout_score(state, [_scores(comparison) for comparison in found])

    return score


def _scores(comparison: Comparison | Unscored) -> Scores:
    if isinstance(comparison, Unscored):
        return {"win_rate": None, "consistent": None}
    return {"win_rate": POINTS[comparison.outcome], "consistent": float(comparison.consistent)}
