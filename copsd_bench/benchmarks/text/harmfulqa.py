"""HarmfulQA (Bhardwaj and Poria 2023, arXiv 2308.09662): harmful questions by topic."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def harmfulqa(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of harmful questions; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("harmfulqa")
    samples = requests(
        "harmfulqa",
        [record["question"] for record in loaded.records],
        ["harmful" for record in loaded.records],
        [record["topic"] for record in loaded.records],
    )
    return safety_task("harmfulqa", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
