"""What a run will need in memory and time on one device, before it starts: from recipe, config and prompts alone.

Every number is an upper bound in one respect: all answers are taken to reach `rollout.max_tokens`, unless a mean length
is given, which then decides times (memory must hold the longest). The formulas of a forward pass are those of
`copsd_bench.models.estimate`; training adds, for each trained parameter, 4 bytes each for its float32 copy, its
gradient and two moments of AdamW.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

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
from copsd_train.corpora.cross_sft import CrossSftConfig
from copsd_train.corpora.schema import PromptRow, read_prompts, seed_prompts
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
        prompts: number of prompts by kind of the corpus; empty where its files are not there yet.
        steps: of distillation.
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
    """Bytes in memory all the time and in each phase, tokens and seconds of each stage."""

    plan: Plan
    trained: int
    standing: Mapping[str, int]
    phases: Mapping[str, int]
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
        CopsdError: the number of steps is unknown, as neither the recipe nor a prompt file says.
    """
    plan = plan_of(recipe, model, answer)
    width = WIDTH[recipe.dtype or "bfloat16"]
    trained = trained_parameters(recipe, model)
    tokens, seconds = _stages(recipe, model, device, plan, width)
    return Estimate(plan, trained, _standing(recipe, model, trained, width), _phases(recipe, model, plan, width),
                    tokens, seconds)  # fmt: skip


def trained_parameters(recipe: Recipe, model: Architecture) -> int:
    """Parameters that get gradients: r x (inputs + outputs) of each linear layer of the decoder (Hu et al. 2021), or
    with full tuning all but the vision tower's (unless it is trained too)."""
    if recipe.tuning == "lora":
        return sum(recipe.lora.rank * (inputs + outputs) for inputs, outputs in model.linears)
    return model.parameters - (model.vision_parameters if recipe.vision.tower == "frozen" else 0)


def plan_of(recipe: Recipe, model: Architecture, answer: int | None) -> Plan:
    """Sizes of the work; see `estimate`."""
    rows = _rows(recipe)
    kinds = Counter(row.kind for row in rows)
    for kind, most in recipe.prompt_config.rows.items():
        kinds[kind] = min(kinds[kind], most)
    distill = recipe.distill
    steps = 0
    if distill is not None:
        if distill.steps is None and not rows:
            raise CopsdError(
                f"The number of steps is not known: the prompts {', '.join(recipe.prompts)} are not there, and the "
                "recipe sets no distill.steps; give one of them."
            )
        steps = distill.steps or distill.epochs * (sum(kinds.values()) // distill.prompts_per_step)
    longest = distill.rollout.max_tokens if distill is not None else recipe.sft.max_tokens if recipe.sft else 0
    text = sum(len(row.prompt) for row in rows) // len(rows) // CHARACTERS if rows else UNKNOWN_PROMPT
    with_images = any(row.image for row in rows) if rows else model.vision_parameters > 0
    image = model.image_tokens(recipe.vision.pixels[1] if recipe.vision.pixels else UNKNOWN_PIXELS) * with_images
    rules = len(load_constitution("default").body()) // CHARACTERS
    return Plan({str(k): v for k, v in kinds.items() if v}, steps, text + image, text + image + rules, image,
                min(answer or longest, longest), longest)  # fmt: skip


def _rows(recipe: Recipe) -> list[PromptRow]:
    """The prompts, as far as they are there."""
    files = recipe.prompt_config.prompts
    if not files:
        return seed_prompts()
    return [row for file in files for row in read_prompts(file)] if all(file.is_file() for file in files) else []


def _standing(recipe: Recipe, model: Architecture, trained: int, width: int) -> dict[str, int]:
    """What is in memory from beginning to end of the largest stage."""
    teacher = recipe.distill.teacher.adapter if recipe.distill is not None else "none"
    copies = (2 + (teacher == "ema")) if recipe.tuning == "full" else 1
    adapters = (1 + (teacher != "none")) * trained * width if recipe.tuning == "lora" else 0
    average = 4 * trained if teacher == "ema" else 0
    return {
        "weights": copies * model.weight_bytes(width),
        "adapters": adapters,
        "optimiser": trained * OPTIMISER_BYTES + average,
    }


def _phases(recipe: Recipe, model: Architecture, plan: Plan, width: int) -> dict[str, int]:
    """What each phase has in memory on top."""
    phases = {}
    for name, stage in (("sft update", recipe.sft), ("distill update", recipe.distill)):
        if stage is not None:
            length = recipe.sft.max_tokens if stage is recipe.sft and recipe.sft else plan.prompt + plan.longest
            phases[name] = _update_bytes(recipe, model, stage.micro_batch_size * length, width)
    if recipe.distill is not None:
        rollouts = recipe.distill.prompts_per_step * recipe.distill.rollout.per_prompt
        if recipe.distill.rollout.engine == "transformers":
            rows = min(DEFAULT_BATCH["cuda"], rollouts)
            cache = model.kv_bytes(rows * (plan.prompt + plan.longest), width)
            phases["rollout"] = cache + working_bytes(model, rows, width)
        cached = min(CACHE_TOKENS, rollouts * (plan.told + plan.longest))
        phases["scoring"] = model.kv_bytes(cached, width) + working_bytes(model, 512, width, 8192)
    return phases


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
        tokens["sft"] = recipe.sft.epochs * prompts * min(recipe.sft.max_tokens, plan.told + plan.answer)
        seconds["sft"] = passes * forward_seconds(model, device, tokens["sft"])
    if recipe.distill is not None:
        config = recipe.distill
        per_step = config.prompts_per_step * config.rollout.per_prompt
        rows = ceil(per_step / ceil(per_step / batch))
        answers = plan.steps * per_step * plan.answer
        read = plan.steps * config.prompts_per_step
        views = [plan.prompt, *([plan.told] if config.signal.kind != "none" else ())]
        views += [plan.prompt] if config.kl_coef else []
        tokens["distill"] = answers
        seconds["distill: rollout"] = forward_seconds(model, device, read * plan.prompt)
        seconds["distill: rollout"] += decode_seconds(model, device, answers, rows, context, width)
        seconds["distill: scoring"] = sum(forward_seconds(model, device, answers + read * each) for each in views)
        learned = plan.steps * per_step * (plan.prompt + plan.answer)
        seconds["distill: update"] = passes * forward_seconds(model, device, learned)
    return tokens, seconds


def show(found: Estimate, recipe: Recipe, model: Architecture, device: Hardware, device_name: str) -> None:
    """Print an estimate."""
    from rich.console import Console
    from rich.table import Table

    from copsd_bench.models.estimate import BANDWIDTH_SHARE, COMPUTE_SHARE

    plan, console = found.plan, Console(width=110)
    vision = f", of them {model.vision_parameters / 1e6:,.0f} M in the vision tower" if model.vision_parameters else ""
    counted = ", ".join(f"{count} {kind}" for kind, count in plan.prompts.items()) or "none there yet"
    console.print(f"{recipe.name} on {model.name} ({model.source}), one {device_name}: computed, nothing was measured")
    facts = Table(box=None, show_header=False)
    facts.add_row("parameters", f"{model.parameters / 1e9:.3f} B{vision}; {found.trained / 1e6:,.1f} M trained")
    facts.add_row("prompts", counted)
    facts.add_row(
        "tokens",
        f"prompt {plan.prompt} (image {plan.image}), teacher's prompt {plan.told}, answer {plan.answer} (at most "
        f"{plan.longest})",
    )
    facts.add_row("distillation", f"{plan.steps} steps")
    console.print(facts)
    table = Table("Memory", "GB", box=None)
    for name, size in found.standing.items():
        table.add_row(name, f"{size / 1e9:,.2f}")
    for name, size in found.phases.items():
        table.add_row(f"+ {name}", f"{size / 1e9:,.2f}")
    room = "fits" if found.peak <= device.memory else "DOES NOT FIT"
    table.add_row("peak", f"{found.peak / 1e9:,.2f} of {device.memory / 1e9:.0f}: {room}")
    if recipe.distill is not None and recipe.distill.rollout.engine == "vllm":
        table.add_row("vLLM", "reserves its own share beside this (gpu_memory_utilization)")
    console.print(table)
    times = Table("Time", "hours", "tokens", box=None)
    for name, seconds in found.seconds.items():
        count = found.tokens.get(name.partition(":")[0]) if not name.endswith(("scoring", "update")) else None
        times.add_row(name, f"{seconds / 3600:,.2f}", f"{count:,}" if count else "")
    times.add_row("together", f"{sum(found.seconds.values()) / 3600:,.2f}", "")
    console.print(times)
    timed = {name.partition(":")[0] for name in found.seconds}
    if left := [stage for stage in recipe.stages if stage not in timed]:
        console.print(f"Not among the times, as their sizes are not known: {', '.join(left)}.")
    console.print(
        f"Times assume {COMPUTE_SHARE:.0%} of {device.flops / 1e12:,.0f} TFLOP/s and {BANDWIDTH_SHARE:.0%} of "
        f"{device.bandwidth / 1e12:.2f} TB/s; formulas: copsd_bench/models/estimate.py, copsd_train/estimate.py."
    )
