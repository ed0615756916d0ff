"""LinguaSafe (Ning et al. 2025, arXiv 2508.12733), English: harmful prompts and prompts that only look it."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def linguasafe(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of harmful prompts and over-refusal of harmless ones (level 0); 512 tokens, greedy.

    Every prompt is asked directly, also those that the authors put into multiple-choice questions.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("linguasafe")
    # A prompt stands in the set once for each way of evaluating it.
    english = {record["prompt"]: record for record in loaded.records if record["lang"] == "en"}
    samples = requests(
        "linguasafe",
        list(english),
        ["benign" if record["level"] == 0 else "harmful" for record in english.values()],
        [record["subtype"] for record in english.values()],
    )
    return safety_task("linguasafe", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
