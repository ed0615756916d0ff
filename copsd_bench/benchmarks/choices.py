"""Multiple choice by an answered letter: Inspect's solver around our way to answer, so that any model can be asked."""

from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import choice
from inspect_ai.solver import Generate, Solver, TaskState, solver

from copsd_bench.benchmarks.respond import respond
from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.sources.loader import Loaded


def choice_task(
    name: str,
    version: str,
    loaded: Loaded,
    samples: list[Sample],
    ask: Solver,
    constitution: str,
    seed: int,
    max_tokens: int,
    notes: list[str] | None = None,
) -> Task:
    """Accuracy of the letter an answer gives; an answer without one is wrong, as for inspect-evals.

    Args:
        name, version: of the task.
        loaded: the set.
        samples: with choices and a letter as target; `category` in the metadata balances a limit.
        ask: Inspect's `multiple_choice`, or a peer's variant of it.
        constitution: context the model sees.
        seed: of the samples' random streams.
        max_tokens: of an answer; `ask` must set no limit of its own, which a run could not change.
        notes: for the record.
    """
    for sample in samples:
        sample.metadata = {**(sample.metadata or {}), "group": "general"}
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=[MetricSpec(name="accuracy", score="accuracy")],
        primary="accuracy",
        names={"choice": "accuracy"},
        constitution=constitution,
        notes=notes or [],
    )
    config = GenerateConfig(temperature=0, max_tokens=max_tokens)
    return build_task(
        name, version, samples, spec, [choice()], config, seed, solver=around(ask, respond(constitution, seed))
    )


@solver
def around(outer: Solver, answer: Solver) -> Solver:
    """A solver that words the question and reads the reply, around one that answers.

    Args:
        outer: calls `generate` once.
        answer: takes that call's place.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        async def answered(state: TaskState, *_: Any, **options: Any) -> TaskState:
            given = {name: value for name, value in options.items() if value is not None}

            async def with_options(state: TaskState, **more: Any) -> TaskState:
                return await generate(state, **{**given, **more})

            return await answer(state, with_options)  # type: ignore[arg-type]

        return await outer(state, answered)  # type: ignore[arg-type]

    return solve
