"""ARC-Challenge (Clark et al. 2018, arXiv 1803.05457): grade-school science questions that retrieval gets wrong."""

from inspect_ai import Task, task
from inspect_ai.solver import multiple_choice
from inspect_evals.arc.arc import record_to_sample

from copsd_bench.benchmarks.choices import choice_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def arc_challenge(constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy of the answered letter: inspect-evals' samples and prompt; 64 tokens, greedy.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("arc_challenge")
    samples = [record_to_sample(record) for record in loaded.records]
    return choice_task("arc_challenge", VERSION, loaded, samples, multiple_choice(), constitution, seed, max_tokens=64)
