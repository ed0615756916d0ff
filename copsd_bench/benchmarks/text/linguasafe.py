"""LinguaSafe (Ning et al. 2025, arXiv 2508.12733), English: harmful prompts and prompts that only look it."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def linguasafe(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of direct harmful prompts and over-refusal of harmless ones; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("linguasafe")
    samples = requests(
        "linguasafe",
        [record["prompt"] for record in loaded.records],
        ["benign" if record["severity"] == 0 else "harmful" for record in loaded.records],
        [record["category"] for record in loaded.records],
    )
    return safety_task("linguasafe", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
