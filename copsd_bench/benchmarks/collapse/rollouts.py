"""The solver of the suite `collapse`: n rollouts of the tested model and n of the reference to every prompt.

The tasks of the suite ask for the same generations, so those go through Inspect's generation cache where it is on: the
first task generates, the others read.
"""

from typing import Any

from inspect_ai.model import (
    CachePolicy,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Model,
    ModelOutput,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import collect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from copsd_bench import __version__
from copsd_bench.benchmarks.answer import Answer, answer_of, replied
from copsd_bench.benchmarks.collapse.reference import local_spec, models_of, parse_reference
from copsd_bench.benchmarks.respond import NO_CONSTITUTION, context_named, sample_seed, with_context
from copsd_bench.engine.provider import TOKEN_IDS
from copsd_bench.errors import CopsdError, unknown_name

KEY = "rollouts"
"""Where a sample's `RolloutPair` lies in Inspect's store, and so in the log."""


class RolloutSettings(BaseModel):
    """Arguments that every task of the suite takes.

    Attributes:
        reference: what the model is measured against (see `parse_reference`).
        rollouts: answers of each side to a prompt.
        prompts: csv or jsonl in place of the packaged prompts.
        constitution: context the tested model sees (`none`, a name, a file, `category`).
        max_tokens, temperature, top_p: sampling of both sides.
        seed: of the tested model's random streams; the reference draws from the next one.
        cached: keep the generations in Inspect's cache. `copsd-bench run` does, with a cache of its own for each run:
            elsewhere a stored answer could be that of another model behind the same name.
    """

    model_config = ConfigDict(extra="forbid")
    reference: str
    rollouts: int = Field(default=4, ge=1)
    prompts: str | None = None
    constitution: str = NO_CONSTITUTION
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = 0
    cached: bool = False


def rollout_settings(arguments: dict[str, Any]) -> RolloutSettings:
    """Checked arguments of a task.

    Raises:
        CopsdError: an unknown argument, no reference, a value out of range, or a reference that means nothing.
    """
    for name in arguments:
        if name not in RolloutSettings.model_fields:
            raise unknown_name("task argument", name, RolloutSettings.model_fields)
    if not arguments.get("reference"):
        raise CopsdError(
            "The tasks of the suite collapse measure a model against another: give a reference (`base`, `self`, "
            "`constitution:NAME`, or a model)."
        )
    try:
        settings = RolloutSettings.model_validate({k: v for k, v in arguments.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise CopsdError(f"{first['loc'][0]} {first['input']!r} is not valid: {first['msg'].lower()}.") from error
    parse_reference(settings.reference, settings.constitution)
    return settings


class RolloutPair(BaseModel):
    """The rollouts of one prompt.

    Attributes:
        prompt, reference_prompt: the messages each side saw, with their contexts.
        model, reference: their answers, in the order of the rollouts.
    """

    model_config = ConfigDict(extra="forbid")
    prompt: list[ChatMessage]
    reference_prompt: list[ChatMessage]
    model: list[Answer]
    reference: list[Answer]


def read_rollouts(state: TaskState) -> RolloutPair:
    """The rollouts that the solver left with a sample."""
    return RolloutPair.model_validate(state.store.get(KEY))


@solver
def rollouts(settings: dict[str, Any]) -> Solver:
    """Answer the prompt n times, and let the reference answer it n times.

    Args:
        settings: fields of `RolloutSettings`.
    """
    given = RolloutSettings.model_validate(settings)
    reference = parse_reference(given.reference, given.constitution)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        tested, other = models_of(given.reference, given.constitution)
        category = str(state.metadata.get("category", ""))
        prompt = _prompt(state, given.constitution, category)
        reference_prompt = _prompt(state, reference.constitution, category)
        sides = [(tested, prompt, given.seed), (other, reference_prompt, given.seed + 1)]
        outputs = await collect(
            *(
                _generate(model, messages, sample_seed(seed, str(state.sample_id), rollout), given)
                for model, messages, seed in sides
                for rollout in range(1, given.rollouts + 1)
            )
        )
        mine, theirs = outputs[: given.rollouts], outputs[given.rollouts :]
        pair = RolloutPair(
            prompt=prompt,
            reference_prompt=reference_prompt,
            model=[answer_of(output) for output in mine],
            reference=[answer_of(output) for output in theirs],
        )
        state.store.set(KEY, pair.model_dump(mode="json"))
        state.output = mine[0]
        state.messages = [*prompt, ChatMessageAssistant(content=mine[0].completion)]
        return state

    return solve


def _prompt(state: TaskState, constitution: str, category: str) -> list[ChatMessage]:
    context = context_named(constitution, category)
    return list(state.messages) if context is None else with_context(state.messages, context)


async def _generate(model: Model, messages: list[ChatMessage], seed: int, settings: RolloutSettings) -> ModelOutput:
    # Everything is given here: Inspect's own settings of a run would reach the tested model only.
    config = GenerateConfig(
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=seed,
        extra_body={TOKEN_IDS: True} if local_spec(model) is not None else None,
    )
    policy = CachePolicy(expiry=None, per_epoch=False, scopes={"copsd": __version__})
    return replied(await model.generate(messages, config=config, cache=policy if settings.cached else False))
