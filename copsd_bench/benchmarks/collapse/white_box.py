"""From the rollouts of a sample to the two engines behind them, for tasks that look inside the models."""

from typing import TYPE_CHECKING, cast

from inspect_ai.model import Model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from copsd_bench.benchmarks.collapse.reference import models_of
from copsd_bench.benchmarks.collapse.rollouts import RolloutPair
from copsd_bench.errors import CopsdError

if TYPE_CHECKING:
    from copsd_bench.engine.divergence import Side
    from copsd_bench.engine.protocol import View
    from copsd_bench.engine.transformers_engine import TransformersEngine


@solver
def require_white_box(reference: str, constitution: str) -> Solver:
    """Refuse, before anything is generated, models whose distributions or activations cannot be read or compared.

    Args:
        reference, constitution: as in `RolloutSettings`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        from copsd_bench.engine.divergence import require_one_vocabulary

        (model, _), (other, _) = engines_of(reference, constitution)
        require_one_vocabulary(model, other)
        return state

    return solve


def engines_of(reference: str, constitution: str) -> "list[tuple[TransformersEngine, View]]":
    """Engine and view of the tested model and of its reference, inside a running task.

    Raises:
        CopsdError: one of them is not a local model on the engine `transformers`.
    """
    return [_engine(model) for model in models_of(reference, constitution)]


def open_sides(pair: RolloutPair, reference: str, constitution: str) -> "tuple[Side, Side] | None":
    """As `sides_of` for one completion, or None where one of the models cannot be looked into or compared."""
    from copsd_bench.engine.divergence import require_one_vocabulary

    try:
        require_one_vocabulary(*(engine for engine, _ in engines_of(reference, constitution)))
    except CopsdError:
        return None
    return sides_of(pair, 1, reference, constitution)


def sides_of(pair: RolloutPair, count: int, reference: str, constitution: str) -> "tuple[Side, Side]":
    """Both ways of looking at `count` completions of a sample, each after its own prompt.

    Raises:
        CopsdError: as `engines_of`.
    """
    from copsd_bench.engine.divergence import Side
    from copsd_bench.engine.provider import messages

    seen = (pair.prompt, pair.reference_prompt)
    model, other = (
        Side(engine, view, [engine.encode(messages(prompt))] * count)
        for (engine, view), prompt in zip(engines_of(reference, constitution), seen, strict=True)
    )
    return model, other


def _engine(model: Model) -> "tuple[TransformersEngine, View]":
    worker = getattr(model.api, "worker", None)
    if worker is None or "divergence" not in worker.engine.capabilities:
        raise CopsdError(
            f"This task reads distributions inside the models, which {model} does not show; use local models with the "
            "engine 'transformers'."
        )
    return cast("TransformersEngine", worker.engine), worker.view
