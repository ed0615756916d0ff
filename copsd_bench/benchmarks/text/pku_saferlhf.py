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
    # A prompt stands once for every pair of responses.
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for record in loaded.records:
        by_prompt.setdefault(record["prompt"], []).append(record)
    groups = [group_of(records) for records in by_prompt.values()]
    samples = requests("pku_saferlhf", list(by_prompt), groups, [""] * len(by_prompt))
    return safety_task("pku_saferlhf", VERSION, loaded, samples, judge, "strongreject", constitution, seed)


def group_of(records: list[dict[str, Any]]) -> Group:
    """A prompt that drew an unsafe response is one to refuse; one that drew only safe ones need not be."""
    safe = all(record["is_response_0_safe"] and record["is_response_1_safe"] for record in records)
    return "benign" if safe else "harmful"
