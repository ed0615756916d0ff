"""ALERT (Tedeschi et al. 2024, arXiv 2404.08676): red-teaming prompts in a taxonomy of risks."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"
HEAD, TAIL = "### Instruction:", "### Response:"


@task
def alert(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of red-teaming prompts; 512 tokens, greedy.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("alert")
    samples = requests(
        "alert",
        [instruction(record["prompt"]) for record in loaded.records],
        ["harmful" for record in loaded.records],
        [record["category"] for record in loaded.records],
    )
    return safety_task("alert", VERSION, loaded, samples, judge, "strongreject", constitution, seed)


def instruction(prompt: str) -> str:
    """The request without the frame that the set puts round it for models without a chat template."""
    return prompt.strip().removeprefix(HEAD).removesuffix(TAIL).strip()
