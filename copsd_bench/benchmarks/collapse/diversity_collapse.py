"""`diversity_collapse`: how much do several answers to one prompt still differ?"""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.answer import Answer
from copsd_bench.benchmarks.collapse.rollouts import read_rollouts, rollout_settings
from copsd_bench.benchmarks.collapse.scoring import Scores, rollout_score, summary
from copsd_bench.benchmarks.collapse.task import rollout_task
from copsd_bench.collapse.diversity import rollout_scores
from copsd_bench.collapse.embedding import distances, embedder_id
from copsd_bench.errors import CopsdError

NAME = "diversity_collapse"


@task
def diversity_collapse(embedding_model: str | None = None, **settings: Any) -> Task:
    """1 - Self-BLEU over the rollouts of each prompt, distinct-n and repetition, against the reference.

    Args:
        embedding_model: adds the mean cosine distance of this encoder's embeddings (a local folder or a hub id).
        settings: fields of `RolloutSettings`; `reference` is required, and at least two rollouts.
    """
    given = rollout_settings(settings)
    if given.rollouts < 2:
        raise CopsdError(f"Task {NAME} compares rollouts of a prompt with each other; give --rollouts 2 or more.")
    judges = {} if embedding_model is None else {"embedding_distance": embedder_id(embedding_model)}
    return rollout_task(NAME, given, diversity(embedding_model), "diversity", ["repetition"], judges)


@scorer(metrics=[summary(NAME)], name=NAME)
def diversity(embedding_model: str | None = None) -> Scorer:
    """Scores of each rollout among the others of its prompt."""

    async def score(state: TaskState, target: Target) -> Score:
        pair = read_rollouts(state)
        return rollout_score(state, _scores(pair.model, embedding_model), _scores(pair.reference, embedding_model))

    return score


def _scores(answers: list[Answer], embedding_model: str | None) -> list[Scores]:
    texts = [answer.text for answer in answers]
    return list(rollout_scores(texts, None if embedding_model is None else distances(texts, embedding_model)))
