"""TruthfulQA (Lin et al. 2022, arXiv 2109.07958): questions that common misconceptions answer wrongly."""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.solver import multiple_choice
from inspect_evals.truthfulqa.truthfulqa import DEFAULT_SHUFFLE_SEED, labels_to_positions
from inspect_evals.utils import create_stable_id

from copsd_bench.benchmarks.choices import choice_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def truthfulqa(constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy on MC1, one true choice among false ones, by the answered letter; 64 tokens, greedy.

    inspect-evals' prompt, ids and order of choices, which it shuffles by a seed: the true one comes first in the set.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("truthfulqa")
    dataset = MemoryDataset([_sample(record) for record in loaded.records])
    dataset.shuffle_choices(seed=DEFAULT_SHUFFLE_SEED)
    return choice_task(
        "truthfulqa", VERSION, loaded, list(dataset), multiple_choice(), constitution, seed, max_tokens=64
    )


def _sample(record: dict[str, Any]) -> Sample:
    return Sample(
        id=create_stable_id(record["question"], prefix="truthfulqa"),
        input=record["question"],
        choices=list(record["mc1_targets"]["choices"]),
        target=labels_to_positions(record["mc1_targets"]["labels"]),
    )
