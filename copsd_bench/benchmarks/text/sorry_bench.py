"""SORRY-Bench (Xie et al. 2024, arXiv 2406.14598): unsafe requests in 44 classes."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def sorry_bench(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of the base requests, without the linguistic mutations; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("sorry_bench")
    base = [record for record in loaded.records if record["prompt_style"] == "base"]
    samples = requests(
        "sorry_bench",
        [record["turns"][0] for record in base],
        ["harmful" for record in base],
        [str(record["category"]) for record in base],
    )
    return safety_task("sorry_bench", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
