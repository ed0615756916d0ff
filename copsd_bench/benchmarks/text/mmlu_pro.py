"""MMLU-Pro (Wang et al. 2024, arXiv 2406.01574): harder exam questions with up to ten choices."""

from inspect_ai import Task, task
from inspect_ai.solver import multiple_choice
from inspect_evals.mmlu_pro.mmlu_pro import USER_PROMPT_TEMPLATE, record_to_sample

from copsd_bench.benchmarks.choices import choice_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def mmlu_pro(constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy of the answered letter: inspect-evals' 0-shot chain-of-thought prompt; 1024 tokens, greedy.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("mmlu_pro")
    samples = [record_to_sample(record) for record in loaded.records]
    for sample in samples:
        sample.metadata = {"category": (sample.metadata or {})["subject"]}
    ask = multiple_choice(template=USER_PROMPT_TEMPLATE)
    return choice_task("mmlu_pro", VERSION, loaded, samples, ask, constitution, seed, max_tokens=1024)
