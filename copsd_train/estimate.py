"""What a run will need in memory and time on one device, before it starts: from recipe, config and prompts alone.

Every number is an upper bound in two respects: all answers are taken to reach `rollout.max_tokens`, unless a mean
length is given, which then decides times (memory must hold the longest); and every prompt is taken to give a pair to
learn from. The formulas of a forward pass are those of `copsd_bench.models.estimate`; training adds, for each trained
parameter, 4 bytes each for its float32 copy, its gradient and two moments of AdamW.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from copsd_bench.constitution import load_constitution
from copsd_bench.engine.states import CACHE_TOKENS
from copsd_bench.engine.transformers_engine import DEFAULT_BATCH
from copsd_bench.errors import CopsdError
from copsd_bench.models.estimate import (
    WIDTH,
    Architecture,
    Hardware,
    decode_seconds,
    forward_seconds,
    layer_bytes,
    working_bytes,
)
from copsd_train.corpora.critique import CritiqueConfig
from copsd_train.corpora.cross_sft import CrossSftConfig
from copsd_train.corpora.prompts import load_rows
from copsd_train.corpora.schema import PromptRow, read_pairs
from copsd_train.distill_recipe import DIVERGENCES, Rollout
from copsd_train.recipe import Recipe

CHARACTERS = 4
"""Of English text a token."""
UNKNOWN_PROMPT = 256
"""Tokens of a prompt's text where there are no prompts yet."""
UNKNOWN_PIXELS = 1_000_000
"""Of an image where the recipe sets no limits."""
OPTIMISER_BYTES = 16
"""A trained parameter: float32 copy, gradient, two moments."""


@dataclass(frozen=True)
class Plan:
    """What a recipe will do.

    Attributes:
        prompts: number of prompts by kind that are trained on; empty where their files are not there yet.
        steps: of distillation or preference learning.
        prompt, told: tokens of a student's and of a teacher's prompt, image tokens included.
        image: of these, tokens of an image.
        answer: mean tokens of an answer; `longest` the most.
    """

    prompts: Mapping[str, int]
    steps: int
    prompt: int
    told: int
    image: int
    answer: int
    longest: int


@dataclass(frozen=True)
class Estimate:
    """Bytes in memory all the time and in each phase, tokens and seconds of each stage.

    `rows` are, by stage, the most rows of a forward pass (`micro_batch_size`) whose update fits into the device's
    memory, up to those of a whole update; 0 if not one does.
    """

    plan: Plan
    trained: int
    standing: Mapping[str, int]
    phases: Mapping[str, int]
    rows: Mapping[str, int]
    tokens: Mapping[str, int]
    seconds: Mapping[str, float]

    @property
    def peak(self) -> int:
        """Bytes: what stands, and the largest phase on top."""
        return sum(self.standing.values()) + max(self.phases.values(), default=0)


def estimate(recipe: Recipe, model: Architecture, device: Hardware, answer: int | None = None) -> Estimate:
    """The needs of a recipe on one device.

    Args:
        recipe: resolved.
        model: what it trains.
        device: the hardware.
        answer: mean tokens of an answer, for times; None takes the longest.

    Raises:
        CopsdError: the number of steps is unknown, as neither the recipe nor a prompt file says; or the prompts cannot
            be trained on.
    """
    recipe = recipe.as_run
    plan = plan_of(recipe, model, answer)
    width = WIDTH[recipe.dtype or "bfloat16"]
    trained = trained_parameters(recipe, model)
    tokens, seconds = _stages(recipe, model, device, plan, width)
    standing = _standing(recipe, model, trained, width)
    rows = _fitting_rows(recipe, model, plan, device.memory - sum(standing.values()), width)
    return Estimate(plan, trained, standing, _phases(recipe, model, plan, width), rows, tokens, seconds)


def trained_parameters(recipe: Recipe, model: Architecture) -> int:
    """Parameters that get gradients: r x (inputs + outputs) of each linear layer of the decoder (Hu et al. 2021), or
    with full tuning all but the vision tower's (unless it is trained too)."""
    if recipe.tuning == "lora":
        return sum(recipe.lora.rank * (inputs + outputs) for inputs, outputs in model.linears)
    return model.parameters - (model.vision_parameters if recipe.vision.tower == "frozen" else 0)


def plan_of(recipe: Recipe, model: Architecture, answer: int | None) -> Plan:
    """Sizes of the work; see `estimate`."""
    recipe = recipe.as_run
    rows = _rows(recipe)
    kinds = Counter(row.kind for row in rows)
    longest = _longest(recipe)
    text = sum(len(row.prompt) for row in rows) // len(rows) // CHARACTERS if rows else UNKNOWN_PROMPT
    with_images = any(row.image for row in rows) if rows else model.vision_parameters > 0
    image = model.image_tokens(recipe.vision.pixels[1] if recipe.vision.pixels else UNKNOWN_PIXELS) * with_images
    rules = len(load_constitution("default").body()) // CHARACTERS
    return Plan({str(k): v for k, v in kinds.items()}, _steps(recipe, len(rows)), text + image, text + image + rules,
                image, min(answer or longest, longest), longest)  # fmt: skip


def _rows(recipe: Recipe) -> list[PromptRow]:
    """The prompts, as far as they are there; against the benchmarks they are held when they are trained on."""
    config = recipe.prompt_config.model_copy(update={"allow_overlap": True})
    return load_rows(config) if all(file.is_file() for file in config.prompts) else []


def _corpus_rows(recipe: Recipe, plan: Plan) -> int:
    """Rows of the corpus, at most: one a prompt, or where each revision is learned as many a safety prompt."""
    corpus, prompts = recipe.corpus, sum(plan.prompts.values())
    if isinstance(corpus, CritiqueConfig) and corpus.keep == "all":
        return prompts + (corpus.revisions - 1) * plan.prompts.get("safety", 0)
    return prompts


def _steps(recipe: Recipe, prompts: int) -> int:
    """Of distillation or preference learning, given the number of prompts; 0 is an unknown one."""
    from copsd_train import distill, preference

    stage, what, rows = recipe.distill or recipe.preference, recipe.stages[-1], prompts
    if stage is None:
        return 0
    if recipe.preference is not None and recipe.preference.pairs not in ("ai", "corpus"):
        rows = len(read_pairs(Path(recipe.preference.pairs)))
    if rows and recipe.preference is not None:
        return preference.total_steps(recipe.preference, rows, online=recipe.rl_algorithm == "online-dpo")
    if rows and recipe.distill is not None:
        return distill.total_steps(recipe.distill, rows)
    if stage.steps is None:
        raise CopsdError(
            f"The number of steps is not known: the prompts {', '.join(recipe.prompts)} are not there, and the "
            f"recipe sets no {what}.steps; give one of them."
        )
    return stage.steps


def _longest(recipe: Recipe) -> int:
    """Tokens of the longest answer that is learned from."""
    if (asked := _rollout(recipe)) is not None:
        return asked.max_tokens
    if recipe.preference is not None:
        return int(getattr(recipe.corpus, "max_tokens", recipe.preference.max_tokens))
    return recipe.sft.max_tokens if recipe.sft else 0


def _rollout(recipe: Recipe) -> Rollout | None:
    """How the student answers, if it does."""
    if recipe.distill is not None:
        return recipe.distill.rollout
    return recipe.preference.rollout if recipe.preference is not None and recipe.preference.pairs == "ai" else None


def _asked(recipe: Recipe, plan: Plan) -> tuple[int, int]:
    """Prompts that the student answers at once, and in all."""
    if recipe.distill is not None:
        return recipe.distill.prompts_per_step, plan.steps * recipe.distill.prompts_per_step
    if recipe.preference is not None and recipe.rl_algorithm == "online-dpo":
        return recipe.preference.batch_size, plan.steps * recipe.preference.batch_size
    prompts = sum(plan.prompts.values())
    return prompts or DEFAULT_BATCH["cuda"], prompts


def _standing(recipe: Recipe, model: Architecture, trained: int, width: int) -> dict[str, int]:
    """What is in memory from beginning to end of the largest stage."""
    teacher = recipe.distill.teacher.adapter if recipe.distill is not None else "none"
    # A student that sft has trained has a fixed copy beside it, to stay close to.
    reference = recipe.stages[-1] != "sft" and recipe.sft is not None and recipe.sft.adapter == "student"
    copies = (2 + (teacher == "ema") + reference) if recipe.tuning == "full" else 1
    adapters = (1 + (teacher != "none") + reference) * trained * width if recipe.tuning == "lora" else 0
    average = 4 * trained if teacher == "ema" else 0
    return {
        "weights": copies * model.weight_bytes(width),
        "adapters": adapters,
        "optimiser": trained * OPTIMISER_BYTES + average,
    }


def _phases(recipe: Recipe, model: Architecture, plan: Plan, width: int) -> dict[str, int]:
    """What each phase has in memory on top."""
    phases = {
        f"{update.stage} update": _update_bytes(recipe, model, update.rows * update.length, width)
        for update in _updates(recipe, plan)
    }
    rollout = _rollout(recipe)
    if rollout is not None and rollout.engine == "transformers":
        rows = min(DEFAULT_BATCH["cuda"], _asked(recipe, plan)[0] * rollout.per_prompt)
        cache = model.kv_bytes(rows * (plan.prompt + plan.longest), width)
        phases["rollout"] = cache + working_bytes(model, rows, width)
    if recipe.distill is not None:
        rollouts = recipe.distill.prompts_per_step * recipe.distill.rollout.per_prompt
        cached = min(CACHE_TOKENS, rollouts * (plan.told + plan.longest))
        phases["scoring"] = model.kv_bytes(cached, width) + working_bytes(model, 512, width, 8192)
    return phases


@dataclass(frozen=True)
class _Update:
    """Rows (or pairs) of a forward pass of a stage that trains, tokens of the longest, and rows of a whole update."""

    stage: str
    rows: int
    length: int
    whole: int


def _updates(recipe: Recipe, plan: Plan) -> Iterator[_Update]:
    if (sft := recipe.sft) is not None:
        yield _Update("sft", sft.micro_batch_size, sft.max_tokens, sft.batch_size)
    if (pairs := recipe.preference) is not None:
        yield _Update("preference", pairs.micro_batch_size, 2 * pairs.max_tokens, pairs.batch_size)
    if (distill := recipe.distill) is not None:
        answers = distill.prompts_per_step * distill.rollout.per_prompt // distill.minibatches
        yield _Update("distill", distill.micro_batch_size, plan.prompt + plan.longest, answers)


def _fitting_rows(recipe: Recipe, model: Architecture, plan: Plan, room: int, width: int) -> dict[str, int]:
    """By stage, the most rows of a forward pass that fit into `room` bytes, up to those of a whole update."""
    one = {update.stage: _update_bytes(recipe, model, update.length, width) for update in _updates(recipe, plan)}
    logits = _update_bytes(recipe, model, 0, width)
    return {
        update.stage: min(max(room - logits, 0) // (one[update.stage] - logits), update.whole)
        for update in _updates(recipe, plan)
    }


def _update_bytes(recipe: Recipe, model: Architecture, tokens: int, width: int) -> int:
    """Activations kept for the backward pass over so many tokens, and logits of 128 positions.

    With gradient checkpointing each layer keeps its input (hidden a token) and one layer is computed again; without,
    every layer keeps all of `layer_bytes`.
    """
    inner = layer_bytes(model, tokens, width)
    kept = model.layers * tokens * model.hidden * width + inner
    logits = 3 * 4 * 128 * model.vocabulary
    return (kept if recipe.gradient_checkpointing else model.layers * inner) + logits


def _stages(
    recipe: Recipe, model: Architecture, device: Hardware, plan: Plan, width: int
) -> tuple[dict[str, int], dict[str, float]]:
    """Tokens generated or learned, and seconds, by stage.

    An update takes 2 x parameters operations a token forward, as many to pass gradients back, as many again for the
    weights' own gradients with full tuning, and as many again to recompute with gradient checkpointing.
    """
    batch = DEFAULT_BATCH["cuda"]
    context = plan.prompt + plan.answer // 2
    passes = 2 + (recipe.tuning == "full") + recipe.gradient_checkpointing
    prompts = sum(plan.prompts.values())
    tokens: dict[str, int] = {}
    seconds: dict[str, float] = {}
    if isinstance(recipe.corpus, CrossSftConfig) and prompts:
        asked = prompts + plan.prompts.get("safety", 0) * recipe.corpus.rewrites * recipe.corpus.rewrite
        tokens["corpus"] = asked * min(plan.answer, recipe.corpus.max_tokens)
        seconds["corpus"] = forward_seconds(model, device, asked * plan.prompt)
        seconds["corpus"] += decode_seconds(model, device, tokens["corpus"], min(batch, asked), context, width)
    if recipe.sft is not None and recipe.sft.data == "corpus" and prompts:
        rows = recipe.sft.epochs * _corpus_rows(recipe, plan)
        if recipe.sft.steps is not None:
            rows = recipe.sft.steps * recipe.sft.batch_size
        tokens["sft"] = rows * min(recipe.sft.max_tokens, plan.told + plan.answer)
        seconds["sft"] = passes * forward_seconds(model, device, tokens["sft"])
    rollout, (at_once, read) = _rollout(recipe), _asked(recipe, plan)
    if rollout is not None and read:
        stage, together = recipe.stages[-1], at_once * rollout.per_prompt
        rows = ceil(together / ceil(together / batch))
        answers = tokens[stage] = read * rollout.per_prompt * plan.answer
        seconds[f"{stage}: rollout"] = forward_seconds(model, device, read * plan.prompt)
        seconds[f"{stage}: rollout"] += decode_seconds(model, device, answers, rows, context, width)
    if recipe.preference is not None:
        pairs = plan.steps * recipe.preference.batch_size
        learned = 2 * pairs * min(plan.prompt + plan.answer, recipe.preference.max_tokens)
        seconds["preference: scoring"] = forward_seconds(model, device, learned)  # by the reference
        seconds["preference: update"] = passes * forward_seconds(model, device, learned)
    if recipe.distill is not None:
        config = recipe.distill
        per_step = config.prompts_per_step * config.rollout.per_prompt
        answers = plan.steps * per_step * plan.answer
        views = [plan.prompt, *([plan.told] if config.signal.kind != "none" else ())]
        views += [plan.prompt] if config.kl_coef else []
        # A divergence has the teacher's whole distributions again beside the student's at the update.
        views += [plan.told] if config.signal.kind in DIVERGENCES or config.signal.entropy_gate is not None else []
        seconds["distill: scoring"] = sum(forward_seconds(model, device, answers + read * each) for each in views)
        learned = plan.steps * per_step * (plan.prompt + plan.answer)
        seconds["distill: update"] = passes * forward_seconds(model, device, learned)
    return tokens, seconds
