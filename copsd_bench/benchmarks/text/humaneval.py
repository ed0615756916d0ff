"""HumanEval (Chen et al. 2021, arXiv 2107.03374): functions to write from their docstrings, checked by tests."""

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState
from inspect_evals.humaneval.humaneval import find_code, record_to_sample

from copsd_bench.benchmarks.execution import Where, inspect_sandbox_of, notes, passed
from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
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
    to_sample = record_to_sample()
    samples = [to_sample(record) for record in loaded.records]
    for sample in samples:
        sample.metadata = {**(sample.metadata or {}), "group": "general"}
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=[MetricSpec(name="pass@1", score="passed")],
        primary="pass@1",
        names={"humaneval": "passed"},
        constitution=constitution,
        notes=notes(sandbox),
    )
    config = GenerateConfig(temperature=0, max_tokens=1024)
    return build_task(
        "humaneval", VERSION, samples, spec, [solved(sandbox)], config, seed, sandbox=inspect_sandbox_of(sandbox)
    )


@scorer(metrics=[mean()], name="humaneval")
def solved(where: Where) -> Scorer:
    """Whether the function passes its tests, put together as inspect-evals does."""

    async def score(state: TaskState, target: Target) -> Score:
        answer = find_code(state.output.completion)
        return await passed(program(state.metadata, answer), where, answer)

    return score


def program(metadata: dict[str, str], answer: str) -> str:
    """The prompt's signature, the model's body, the tests, and the call that runs them."""
    return f"{metadata['prompt']}{answer}\n{metadata['test']}\ncheck({metadata['entry_point']})"
