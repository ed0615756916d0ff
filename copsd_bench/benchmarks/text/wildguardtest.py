"""WildGuardTest (Han et al. 2024, arXiv 2406.18495): prompts that people labelled for harm, plain and adversarial."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def wildguardtest(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of prompts labelled harmful and over-refusal of the others; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("wildguardtest")
    labelled = [record for record in loaded.records if record["prompt_harm_label"]]
    samples = requests(
        "wildguardtest",
        [record["prompt"] for record in labelled],
        ["harmful" if record["prompt_harm_label"] == "harmful" else "benign" for record in labelled],
        [record["subcategory"] or "" for record in labelled],
    )
    return safety_task("wildguardtest", VERSION, loaded, samples, judge, "strongreject", constitution, seed)
