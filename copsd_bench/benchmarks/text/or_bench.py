"""OR-Bench (Cui et al. 2024, arXiv 2405.20947): harmless prompts that look harmful, and toxic ones."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_subsets

VERSION = "1"


@task
def or_bench(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Over-refusal on the hard set and refusal of the toxic one; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_subsets("or_bench")
    samples = requests(
        "or_bench",
        [record["prompt"] for record in loaded.records],
        ["harmful" if record["subset"] == "toxic" else "benign" for record in loaded.records],
        [record["category"] for record in loaded.records],
    )
    return safety_task("or_bench", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
