"""PKU-SafeRLHF (Ji et al. 2024, arXiv 2406.15513): prompts of its test split."""

from typing import Any

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.records.schema import Group
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def pku_saferlhf(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of prompts that drew an unsafe response, over-refusal of those that drew none; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("pku_saferlhf")
    samples = requests(
        "pku_saferlhf",
        [record["prompt"] for record in loaded.records],
        [group_of(record) for record in loaded.records],
        ["" for record in loaded.records],
    )
    return safety_task("pku_saferlhf", VERSION, loaded, samples, judge, "strongreject", constitution, seed)


def group_of(record: dict[str, Any]) -> Group:
    """A prompt that drew an unsafe response is one to refuse; one that drew two safe ones need not be."""
    return "benign" if record["is_response_0_safe"] and record["is_response_1_safe"] else "harmful"
