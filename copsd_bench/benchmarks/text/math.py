"""MATH (Hendrycks et al. 2021, arXiv 2103.03874): competition problems in seven subjects."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.bridge.task import bridge_task
from copsd_bench.benchmarks.text.math500 import MAX_TOKENS


@task
def math(constitution: str = "none", seed: int = 0) -> Task:
    """lm-eval's `minerva_math`: its four worked examples, `math_verify` and exact match; 1024 tokens.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    return bridge_task("math", "minerva_math", None, constitution, seed, MAX_TOKENS, primary="math_verify")
