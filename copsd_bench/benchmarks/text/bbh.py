"""BIG-Bench-Hard (Suzgun et al. 2022, arXiv 2210.09261): 27 tasks that need several steps of reasoning."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.bridge.task import bridge_task


@task
def bbh(constitution: str = "none", seed: int = 0) -> Task:
    """lm-eval's `bbh_cot_fewshot`: the authors' three worked examples a task, exact match of the answer; 1024 tokens.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    return bridge_task("bbh", "bbh_cot_fewshot", None, constitution, seed)
