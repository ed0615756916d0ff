"""HumanEval (Chen et al. 2021, arXiv 2107.03374): functions to write from their docstrings, checked by tests."""

from inspect_ai import Task, task
from inspect_ai.scorer import Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from inspect_evals.humaneval.humaneval import find_code, record_to_sample

from copsd_bench.benchmarks.code import code_task, passes
from copsd_bench.benchmarks.execution import Where
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def humaneval(sandbox: Where = "none", constitution: str = "none", seed: int = 0) -> Task:
    """pass@1: inspect-evals' prompt and extraction of code; greedy, one answer, 1024 tokens.

    Args:
        sandbox: where the code runs: `docker`, `local` (no isolation), or `none`, which leaves every answer unscored.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("humaneval")
    samples = [record_to_sample()(record) for record in loaded.records]
    return code_task(
        "humaneval", VERSION, loaded, samples, solved(sandbox), sandbox, constitution, seed, max_tokens=1024
    )


@scorer(metrics=[mean()], name="humaneval")
def solved(where: Where) -> Scorer:
    """Whether the function passes its tests."""
    return passes(find_code, program, where)


def program(state: TaskState, target: Target, answer: str) -> str:
    """As inspect-evals: the prompt's signature, the model's body, the tests, and the call that runs them."""
    given = state.metadata
    return f"{given['prompt']}{answer}\n{given['test']}\ncheck({given['entry_point']})"
