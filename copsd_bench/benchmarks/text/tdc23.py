"""TDC 2023, red-teaming track: harmful behaviours of its development and test phases."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_subsets

VERSION = "1"


@task
def tdc23(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of 100 harmful requests; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_subsets("tdc23")
    samples = requests(
        "tdc23",
        [record["text"] for record in loaded.records],
        ["harmful" for record in loaded.records],
        [record["subset"] for record in loaded.records],
    )
    return safety_task("tdc23", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
