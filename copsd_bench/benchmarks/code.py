"""Code to write, checked by running it with its tests: where it may run, or unscored."""

from collections.abc import Callable, Sequence

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target
from inspect_ai.solver import Solver, TaskState

from copsd_bench.benchmarks.execution import Where, inspect_sandbox_of, notes, passed
from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.sources.loader import Loaded

PASS = "pass@1"


def code_task(
    name: str,
    version: str,
    loaded: Loaded,
    samples: Sequence[Sample],
    scorer: Scorer,
    sandbox: Where,
    constitution: str,
    seed: int,
    max_tokens: int,
    before: Sequence[Solver] = (),
) -> Task:
    """pass@1 of one greedy answer.

    Args:
        name, version: of the task; `name` is also the scorer's.
        loaded: the set.
        samples: one a program.
        scorer: see `passes`.
        sandbox: where the code runs.
        constitution: context the model sees.
        seed: of the samples' random streams.
        max_tokens: of an answer.
        before: solvers before the answer.
    """
    for sample in samples:
        sample.metadata = {**(sample.metadata or {}), "group": "general"}
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=[MetricSpec(name=PASS, score=PASS)],
        primary=PASS,
        names={name: PASS},
        constitution=constitution,
        notes=notes(sandbox),
    )
    config = GenerateConfig(temperature=0, max_tokens=max_tokens)
    return build_task(name, version, samples, spec, [scorer], config, seed, before, sandbox=inspect_sandbox_of(sandbox))


def passes(find_code: Callable[[str], str], program: Callable[[TaskState, Target, str], str], where: Where) -> Scorer:
    """Whether the program made of an answer exits with 0.

    Args:
        find_code: the code in a completion.
        program: the whole program, with its tests, from that code.
        where: it runs.
    """

    async def score(state: TaskState, target: Target) -> Score:
        answer = find_code(state.output.completion)
        return await passed(program(state, target, answer), where, answer)

    return score
