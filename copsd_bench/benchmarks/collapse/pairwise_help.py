"""`pairwise_help`: which answer is more helpful, the model's or the reference's?"""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.scorer import Scorer, scorer

from copsd_bench.benchmarks.collapse.pairwise_scorer import pairwise_task, preferences
from copsd_bench.benchmarks.collapse.scoring import summary

NAME = "pairwise_help"


@task
def pairwise_help(judge: str = "grader", **settings: Any) -> Task:
    """Wins, ties and losses against the reference's answers by a judging model, asked in both orders.

    Args:
        judge: `grader`, the model in that role; there is no offline pairwise judge.
        settings: fields of `RolloutSettings`; `reference` is required.
    """
    return pairwise_task(NAME, settings, preferred())


@scorer(metrics=[summary(NAME)], name=NAME)
def preferred() -> Scorer:
    """See `preferences`."""
    return preferences("help")
