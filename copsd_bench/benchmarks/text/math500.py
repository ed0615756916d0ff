"""MATH-500 (Lightman et al. 2023, arXiv 2305.20050): 500 problems of MATH's test set (Hendrycks et al. 2021)."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.bridge.task import bridge_task

MAX_TOKENS = 1024


@task
def math500(constitution: str = "none", seed: int = 0) -> Task:
    """lm-eval's `minerva_math500`: its four worked examples, `math_verify` and exact match.

    1024 tokens, as its default of 256 cuts most solutions.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    return bridge_task("math500", "minerva_math500", None, constitution, seed, MAX_TOKENS, primary="math_verify")
