"""JailbreakBench (Chao et al. 2024, arXiv 2404.01318): harmful behaviours and their benign twins, ten categories."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.records.schema import Group
from copsd_bench.sources.loader import load_subsets

VERSION = "1"
GROUP_OF: dict[str, Group] = {"harmful": "harmful", "benign": "benign"}


@task
def jailbreakbench(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of 100 harmful requests and over-refusal of their 100 benign twins; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_subsets("jailbreakbench")
    groups = [GROUP_OF[record["subset"]] for record in loaded.records]
    behaviours = [record["behavior"] for record in loaded.records]
    samples = requests(
        "jbb",
        [record["goal"] for record in loaded.records],
        groups,
        [record["category"] for record in loaded.records],
        twins=behaviours,
    )
    return safety_task("jailbreakbench", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
