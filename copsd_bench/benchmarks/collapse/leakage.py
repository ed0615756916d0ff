"""`leakage`: how much does expressiveness move where safety moves? (A statistic of this project.)"""

import asyncio
from typing import Any

from inspect_ai import Task, task
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.collapse.representations import sample_states
from copsd_bench.benchmarks.collapse.rollouts import read_rollouts, rollout_settings
from copsd_bench.benchmarks.collapse.scoring import rollout_score, summary
from copsd_bench.benchmarks.collapse.task import rollout_task
from copsd_bench.benchmarks.collapse.white_box import open_sides
from copsd_bench.collapse.directions import DETAIL

NAME = "leakage"


@task
def leakage(**settings: Any) -> Task:
    """Correlation and slope of length movement on refusal movement; directions of both inside the model, by layer.

    Args:
        settings: fields of `RolloutSettings`; `reference` is required.
    """
    given = rollout_settings(settings)
    return rollout_task(NAME, given, coupling(given.reference, given.constitution), "leakage_slope")


@scorer(metrics=[summary(NAME)], name=NAME)
def coupling(reference: str, constitution: str) -> Scorer:
    """The panel's lengths and refusal scores; with white-box access to both models their residual streams too.

    Args:
        reference, constitution: as in `RolloutSettings`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        pair = read_rollouts(state)
        sides = open_sides(pair, reference, constitution)
        states = await asyncio.to_thread(sample_states, pair, *sides) if sides else None
        return rollout_score(state, details={DETAIL: states.pack()} if states else None)

    return score
