"""What `--estimate` prints."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from copsd_bench.models.estimate import BANDWIDTH_SHARE, COMPUTE_SHARE, Architecture, Hardware
from copsd_train.estimate import Estimate
from copsd_train.recipe import Recipe


def show(found: Estimate, recipe: Recipe, model: Architecture, device: Hardware, device_name: str) -> None:
    """Print an estimate."""
    recipe = recipe.as_run
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
    if plan.steps:
        facts.add_row("preference" if recipe.distill is None else "distillation", f"{plan.steps} steps")
    console.print(facts)
    table = Table("Memory", "GB", box=None)
    for name, size in found.standing.items():
        table.add_row(name, f"{size / 1e9:,.2f}")
    for name, size in found.phases.items():
        table.add_row(f"+ {name}", f"{size / 1e9:,.2f}")
    room = "fits" if found.peak <= device.memory else "DOES NOT FIT"
    table.add_row("peak", f"{found.peak / 1e9:,.2f} of {device.memory / 1e9:.0f}: {room}")
    rollouts = [stage.rollout for stage in (recipe.preference, recipe.distill) if stage is not None]
    if any(rollout is not None and rollout.engine == "vllm" for rollout in rollouts):
        table.add_row("vLLM", "reserves its own share beside this (gpu_memory_utilization)")
    console.print(table)
    for line in _advice(found, recipe, device):
        console.print(line)
    times = Table("Time", "hours", "tokens", box=None)
    for name, seconds in found.seconds.items():
        count = found.tokens.get(name.partition(":")[0]) if not name.endswith(("scoring", "update")) else None
        times.add_row(name, f"{seconds / 3600:,.2f}", f"{count:,}" if count else "")
    times.add_row("together", f"{sum(found.seconds.values()) / 3600:,.2f}", "")
    console.print(times)
    timed = {name.partition(":")[0] for name in found.seconds}
    left = [stage for stage in recipe.stages if stage not in timed]
    if _uses_feedback(recipe):
        left.append("feedback")
    if left:
        console.print(f"Not among the times, as their sizes are not known: {', '.join(left)}.")
    console.print(
        f"Times assume {COMPUTE_SHARE:.0%} of {device.flops / 1e12:,.0f} TFLOP/s and {BANDWIDTH_SHARE:.0%} of "
        f"{device.bandwidth / 1e12:.2f} TB/s; formulas: copsd_bench/models/estimate.py, copsd_train/estimate.py."
    )


def _uses_feedback(recipe: Recipe) -> bool:
    """Whether a model compares answers while the recipe runs."""
    outcome = recipe.distill.outcome if recipe.distill is not None else None
    compared = recipe.preference is not None and recipe.preference.pairs == "ai"
    return compared or (outcome is not None and outcome.feedback is not None)


def _advice(found: Estimate, recipe: Recipe, device: Hardware) -> Iterator[str]:
    """The rows a forward pass that fit (of pairs: the pairs), and what no number of them makes room for."""
    stages = {"sft": recipe.sft, "preference": recipe.preference, "distill": recipe.distill}
    sizes = [
        f"{name}.micro_batch_size {stage.micro_batch_size}, at most {found.rows[name]} fit"
        for name, stage in stages.items()
        if stage is not None
    ]
    if sizes:
        yield f"Rows a forward pass: {'; '.join(sizes)}. Gradients accumulate: the update is the same at any."
    room = device.memory - sum(found.standing.values())
    if over := [name for name in ("rollout", "scoring") if found.phases.get(name, 0) > room]:
        stage = recipe.stages[-1]
        yield f"No micro_batch_size makes room for {' and '.join(over)}: lower {stage}.rollout.max_tokens."
