"""`copying`: do answers repeat the constitution, with it in the prompt and without?"""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.collapse.reference import parse_reference
from copsd_bench.benchmarks.collapse.rollouts import read_rollouts, rollout_settings
from copsd_bench.benchmarks.collapse.scoring import rollout_score, summary
from copsd_bench.benchmarks.collapse.task import rollout_task
from copsd_bench.benchmarks.respond import NO_CONSTITUTION, context_named
from copsd_bench.collapse.copying import copying_scores
from copsd_bench.engine.context import SLOT

NAME = "copying"


@task
def copying(**settings: Any) -> Task:
    """Jaccard overlap and longest common run of words of the constitution and the answers, on both sides.

    The constitution is the one the tested model sees; else the reference's; else `default`, which a model that was
    trained with it might recite. So the two sides are with and without the context, or both without.

    Args:
        settings: fields of `RolloutSettings`; `reference` is required.
    """
    given = rollout_settings(settings)
    other = parse_reference(given.reference, given.constitution).constitution
    context = next((name for name in (given.constitution, other) if name != NO_CONSTITUTION), "default")
    sees = {
        who: "sees it" if mode == context else "does not"
        for who, mode in (("the model", given.constitution), ("the reference", other))
    }
    note = f"context is the constitution {context}: " + ", ".join(f"{who} {what}" for who, what in sees.items())
    return rollout_task(
        NAME, given, overlaps(context), "jaccard", ["jaccard", "longest_span", "jaccard_change", "longest_span_change"],
        notes=[note],
    )  # fmt: skip


@scorer(metrics=[summary(NAME)], name=NAME)
def overlaps(constitution: str) -> Scorer:
    """Overlap of each answer with a constitution.

    Args:
        constitution: as `context_named` takes it.
    """

    async def score(state: TaskState, target: Target) -> Score:
        context = context_named(constitution, str(state.metadata.get("category", "")))
        assert context is not None
        text = context.text.replace(SLOT, "")
        pair = read_rollouts(state)
        mine, theirs = ([copying_scores(text, answer.text) for answer in side] for side in (pair.model, pair.reference))
        return rollout_score(state, mine, theirs)

    return score
