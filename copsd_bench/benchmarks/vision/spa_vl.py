"""SPA-VL (Zhang et al. 2024, arXiv 2406.12030): questions about images that invite harm, in six domains."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.vision.pairwise import pairwise_task
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD
from copsd_bench.sources.ids import stable_ids
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def spa_vl(
    profile: str = COPSD,
    judge: str = "refusal",
    reference: str = "",
    constitution: str = "none",
    seed: int = 0,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
) -> Task:
    """Win rates for harmlessness and helpfulness against the untuned model's answers, on the 265 of `harm`; greedy.

    Args:
        profile: `copsd` (one call in a seeded order; wins and ties count) or `official` (both orders).
        judge: `refusal` (offline: refusals only) or `grader`.
        reference: the untuned model: `base`, or a model's name.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
        max_tokens, temperature, top_p: of both models' answers.
    """
    loaded = load_records("spa_vl")
    ids = stable_ids([record["question"] for record in loaded.records], "spa_vl")
    samples = [
        question(
            identifier,
            record["question"],
            record["image"],
            "harmful",
            record["class1"],
            tags={name: record[name] for name in ("class2", "class3")},
        )
        for identifier, record in zip(ids, loaded.records, strict=True)
    ]
    return pairwise_task(
        "spa_vl",
        VERSION,
        loaded,
        samples,
        profile,
        judge,
        reference,
        constitution,
        seed,
        max_tokens,
        temperature,
        top_p,
    )
