"""`kl_direction`: did the model narrow or spread? Exact divergences from its reference, in both directions."""

import asyncio
from typing import Any

from inspect_ai import Task, task
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.collapse.rollouts import read_rollouts, rollout_settings
from copsd_bench.benchmarks.collapse.scoring import rollout_score, summary
from copsd_bench.benchmarks.collapse.task import rollout_task
from copsd_bench.benchmarks.collapse.white_box import require_white_box, sides_of
from copsd_bench.collapse.divergence import answer_curves, answer_scores

NAME = "kl_direction"


@task
def kl_direction(**settings: Any) -> Task:
    """Both KL divergences, both entropies, contraction, dropped mass and the mode-seeking index.

    Args:
        settings: fields of `RolloutSettings`; `reference` is required.
    """
    given = rollout_settings(settings)
    return rollout_task(
        NAME,
        given,
        kl_of_rollouts(given.reference, given.constitution),
        "mode_seeking",
        before=[require_white_box(given.reference, given.constitution)],
    )


@scorer(metrics=[summary(NAME)], name=NAME)
def kl_of_rollouts(reference: str, constitution: str) -> Scorer:
    """Divergences of every rollout of model and reference, each side scored after its own prompt.

    Args:
        reference, constitution: as in `RolloutSettings`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        from copsd_bench.engine.divergence import divergences

        pair = read_rollouts(state)
        answers = [*pair.model, *pair.reference]
        model, other = sides_of(pair, len(answers), reference, constitution)
        found = await asyncio.to_thread(divergences, model, other, [answer.ids or [] for answer in answers])
        mine, theirs = found[: len(pair.model)], found[len(pair.model) :]
        return rollout_score(
            state,
            [answer_scores(one) for one in mine],
            [answer_scores(one) for one in theirs],
            {"on_model": [*map(answer_curves, mine)], "on_reference": [*map(answer_curves, theirs)]},
        )

    return score
