"""Do-Not-Answer (Wang et al. 2023, arXiv 2308.13387): questions not to follow, in five risk areas."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_subsets

VERSION = "1"


@task
def do_not_answer(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of 939 risky questions by risk area; 512 tokens, greedy.

    The offline judge sees refusals only: of the paper's harmless actions it misses the rebuttal and the balanced
    answer, which `--judge MODEL` sorts by the action classes.

    Args:
        judge: `refusal` (offline), `grader` (rubric `do_not_answer` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_subsets("do_not_answer")
    prompts = [record["prompt"] for record in loaded.records]
    areas = [record["subset"] for record in loaded.records]
    samples = requests("dna", prompts, ["harmful"] * len(prompts), areas)
    return safety_task("do_not_answer", VERSION, loaded, samples, judge, "do_not_answer", constitution, seed)
