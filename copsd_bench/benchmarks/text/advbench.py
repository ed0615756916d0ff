"""AdvBench (Zou et al. 2023, arXiv 2307.15043): harmful behaviours."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def advbench(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of 520 harmful requests; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("advbench")
    samples = requests(
        "advbench",
        [record["goal"] for record in loaded.records],
        ["harmful" for record in loaded.records],
        ["" for record in loaded.records],
    )
    return safety_task("advbench", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
