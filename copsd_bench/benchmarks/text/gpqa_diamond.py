"""GPQA diamond (Rein et al. 2023, arXiv 2311.12022): science questions that a search engine does not answer."""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.solver import multiple_choice

from copsd_bench.benchmarks.choices import choice_task
from copsd_bench.sources.ids import stable_ids
from copsd_bench.sources.loader import load_records

VERSION = "1"
SHUFFLE_SEED = 42
"""inspect-evals' seed for the order of choices; the set lists the right one first."""


@task
def gpqa_diamond(constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy of the answered letter after reasoning, Inspect's chain-of-thought prompt; 1024 tokens, greedy.

    The set's authors ask not to publish its questions as plain text: it is read from the hub with your token.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("gpqa_diamond")
    ids = stable_ids([record["Question"] for record in loaded.records], "gpqa")
    dataset = MemoryDataset([_sample(i, record) for i, record in zip(ids, loaded.records, strict=True)])
    dataset.shuffle_choices(seed=SHUFFLE_SEED)
    ask = multiple_choice(cot=True)
    return choice_task("gpqa_diamond", VERSION, loaded, list(dataset), ask, constitution, seed, max_tokens=1024)


def _sample(identifier: str, record: dict[str, Any]) -> Sample:
    wrong = [record[f"Incorrect Answer {i}"] for i in (1, 2, 3)]
    return Sample(
        id=identifier,
        input=record["Question"],
        choices=[choice.strip() for choice in [record["Correct Answer"], *wrong]],
        target="A",
        metadata={"category": record["High-level domain"]},
    )
