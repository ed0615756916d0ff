"""`leakage`: how much does expressiveness move where safety moves? (A statistic of this project.)"""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.collapse.rollouts import rollout_settings
from copsd_bench.benchmarks.collapse.scoring import rollout_score, summary
from copsd_bench.benchmarks.collapse.task import rollout_task

NAME = "leakage"


@task
def leakage(**settings: Any) -> Task:
    """Correlation and slope of length movement on refusal movement, over prompts and rollouts.

    Args:
        settings: fields of `RolloutSettings`; `reference` is required.
    """
    return rollout_task(NAME, rollout_settings(settings), coupling(), "leakage_slope")


@scorer(metrics=[summary(NAME)], name=NAME)
def coupling() -> Scorer:
    """The panel's lengths and refusal scores are all it needs."""

    async def score(state: TaskState, target: Target) -> Score:
        return rollout_score(state)

    return score
