"""`length_collapse`: are the answers shorter than the reference's, and which kinds of answers are left?"""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.collapse.rollouts import read_rollouts, rollout_settings
from copsd_bench.benchmarks.collapse.scoring import Scores, rollout_score, summary
from copsd_bench.benchmarks.collapse.task import rollout_task
from copsd_bench.collapse.text import empty

NAME = "length_collapse"


@task
def length_collapse(**settings: Any) -> Task:
    """Tokens against the reference: ratios of means and medians, shares of short, long and cut answers.

    Args:
        settings: fields of `RolloutSettings`; `reference` is required.
    """
    return rollout_task(NAME, rollout_settings(settings), lengths(), "length_ratio")


@scorer(metrics=[summary(NAME)], name=NAME)
def lengths() -> Scorer:
    """The panel's lengths, and which answers say nothing."""

    async def score(state: TaskState, target: Target) -> Score:
        pair = read_rollouts(state)
        mine, theirs = ([_scores(answer.text) for answer in side] for side in (pair.model, pair.reference))
        return rollout_score(state, mine, theirs)

    return score


def _scores(text: str) -> Scores:
    return {"empty": float(empty(text))}
