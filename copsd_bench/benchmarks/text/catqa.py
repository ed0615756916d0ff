"""CategoricalQA (Bhardwaj et al. 2024, arXiv 2402.11746): harmful questions in 11 categories, English."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def catqa(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of 550 harmful questions; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("catqa")
    samples = requests(
        "catqa",
        [record["text"] for record in loaded.records],
        ["harmful" for record in loaded.records],
        [record["headings"][0] for record in loaded.records],
    )
    return safety_task("catqa", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
