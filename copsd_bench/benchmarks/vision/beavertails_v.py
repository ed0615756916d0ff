"""BeaverTails-V (Ji et al. 2025, arXiv 2503.17682): questions about images in 20 categories of harm."""

import hashlib
from typing import Any

from inspect_ai import Task, task

from copsd_bench.benchmarks.vision.pairwise import pairwise_task
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD
from copsd_bench.sources.ids import stable_ids
from copsd_bench.sources.images import Images, decoded, images_of
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def beavertails_v(
    profile: str = COPSD,
    judge: str = "refusal",
    reference: str = "",
    constitution: str = "none",
    seed: int = 0,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
) -> Task:
    """Win rates for harmlessness and helpfulness against the untuned model's answers, on 589 images; greedy.

    Args:
        profile: `copsd` (one call in a seeded order; wins and ties count) or `official` (both orders).
        judge: `refusal` (offline: refusals only) or `grader`.
        reference: the untuned model: `base`, or a model's name.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
        max_tokens, temperature, top_p: of both models' answers.
    """
    loaded = load_records("beavertails_v")
    kept = one_each(loaded.records, images_of(loaded))
    ids = stable_ids([record["question"] for record in kept], "beavertails_v")
    samples = [
        question(
            identifier,
            record["question"],
            record["image"],
            "harmful",
            record["category"],
            tags={"severity": str(record["image_severity"])},
        )
        for identifier, record in zip(ids, kept, strict=True)
    ]
    return pairwise_task(
        "beavertails_v",
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


def one_each(records: list[dict[str, Any]], images: Images) -> list[dict[str, Any]]:
    """The first record of each question and image, and of those the first of each picture, pixel by pixel.

    The set asks each question twice (for a safe and an unsafe answer) and holds one picture twice; which of the two the
    paper kept is not published.
    """
    asked: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        asked.setdefault((record["question"], images.open(record["image"]).sha256), record)
    pictures: dict[tuple[tuple[int, int], bytes], dict[str, Any]] = {}
    for record in asked.values():
        image = decoded(images.open(record["image"]).content, record["image"]).convert("RGB")
        pictures.setdefault((image.size, hashlib.sha256(image.tobytes()).digest()), record)
    return list(pictures.values())
