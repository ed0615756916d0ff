"""BeaverTails-Evaluation (Ji et al. 2023, arXiv 2307.04657): unsafe questions in 14 categories of harm."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def beavertails_eval(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of 700 unsafe questions; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("beavertails_eval")
    samples = requests(
        "beavertails_eval",
        [record["prompt"] for record in loaded.records],
        ["harmful" for record in loaded.records],
        [record["category"] for record in loaded.records],
    )
    return safety_task("beavertails_eval", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
