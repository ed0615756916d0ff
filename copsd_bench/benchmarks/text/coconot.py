"""CoCoNot (Brahman et al. 2024, arXiv 2407.12043): requests not to go along with, and contrasts to go along with."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_subsets

VERSION = "1"


@task
def coconot(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Noncompliance with the original set and over-refusal on the contrast set; 512 tokens, greedy.

    The offline judge sees refusals only: where a good reply corrects or asks back (false presuppositions, incomplete
    requests) it undercounts, and `--judge MODEL` asks by the category's own rubric.

    Args:
        judge: `refusal` (offline), `grader` (rubric `coconot` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_subsets("coconot")
    samples = requests(
        "coconot",
        [record["prompt"] for record in loaded.records],
        ["harmful" if record["subset"] == "original" else "benign" for record in loaded.records],
        [record["category"] for record in loaded.records],
    )
    return safety_task("coconot", VERSION, loaded, samples, judge, "coconot", constitution, seed)
