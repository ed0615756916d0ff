"""WildJailbreak (Jiang et al. 2024, arXiv 2406.18510): adversarial prompts, harmful and benign."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def wildjailbreak(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of adversarial harmful prompts and over-refusal of adversarial benign ones; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("wildjailbreak")
    samples = requests(
        "wildjailbreak",
        [record["adversarial"] for record in loaded.records],
        ["benign" if "benign" in record["data_type"] else "harmful" for record in loaded.records],
        [record["data_type"] for record in loaded.records],
    )
    return safety_task("wildjailbreak", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
