"""What a recipe spends on its student, and the same recipe at another budget: so that arms of a comparison match.

Two numbers are matched, of the stage that makes the student (the last one that trains): its optimiser updates, and the
answer tokens it learns from at most. On-policy stages roll so many answers out, each no longer than its limit. SFT
takes the answers of its corpus instead, in as many passes as the updates need, and fills each batch up to its share of
the tokens. What comes before that stage, a corpus or a teacher's fine-tuning, is a method's own cost: it is shown, not
matched.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from copsd_bench.errors import CopsdError
from copsd_bench.records.format import MISSING
from copsd_bench.records.grid import Grid
from copsd_train.distill_recipe import Distill
from copsd_train.load_recipe import merged, validated
from copsd_train.recipe import Recipe
from copsd_train.recipe_parts import Sft

SHORT = 0.9
"""The least share of a budget's tokens that counts as matched, as a step holds whole prompts."""


@dataclass(frozen=True)
class Budget:
    """Optimiser updates of the student, and answer tokens it learns from at most."""

    updates: int
    tokens: int


def student_stage(recipe: Recipe) -> str:
    """The stage that makes the student: the last one that trains.

    Raises:
        CopsdError: it is of a sort whose cost is not known.
    """
    trained = [name for name in recipe.stages if hasattr(getattr(recipe, name), "optimiser")]
    if not isinstance(getattr(recipe, trained[-1]), Distill | Sft):
        raise _unmatched(recipe, f"what its last stage, {trained[-1]}, spends is not known")
    return trained[-1]


def own_budget(recipe: Recipe, prompts: int) -> Budget:
    """What a recipe spends on its student by itself, given its number of prompts.

    Raises:
        CopsdError: that is not known beforehand.
    """
    stage = student_stage(recipe)
    section, updates = getattr(recipe, stage), _updates(recipe, stage, prompts)
    if isinstance(section, Distill):
        step = section.prompts_per_step * section.rollout.per_prompt * section.rollout.max_tokens
        return Budget(updates, updates // section.minibatches * step)
    return Budget(updates, updates * (section.batch_tokens or section.batch_size * _longest(recipe)))


def at_budget(recipe: Recipe, budget: Budget, prompts: int) -> Recipe:
    """The recipe with the sizes that meet a budget.

    Args:
        recipe: whose mini-batches, answers a prompt and longest answer stay as they are.
        budget: to be met; never exceeded.
        prompts: how many there are.

    Raises:
        CopsdError: no sizes meet it (why not).
    """
    stage = student_stage(recipe)
    section = getattr(recipe, stage)
    sizes = _on_policy(recipe, section, budget, prompts) if isinstance(section, Distill) else _batches(budget)
    return validated(merged(recipe.model_dump(mode="json"), {stage: sizes}), recipe.name)


def _on_policy(recipe: Recipe, stage: Distill, budget: Budget, prompts: int) -> dict[str, Any]:
    """Steps, and prompts a step."""
    steps, rest = divmod(budget.updates, stage.minibatches)
    if rest:
        raise _unmatched(recipe, f"{budget.updates} updates are no multiple of its {stage.minibatches} a step")
    prompt = stage.rollout.per_prompt * stage.rollout.max_tokens * steps
    size = budget.tokens // prompt
    if size < stage.minibatches:
        raise _unmatched(
            recipe,
            f"{budget.tokens} tokens are too few for the {stage.minibatches} prompts that a step of it has at least "
            f"(these take {prompt * stage.minibatches})",
        )
    if size > prompts:
        raise _unmatched(
            recipe,
            f"{budget.tokens} tokens are more than {steps} steps on all {prompts} prompts take ({prompt * prompts})",
        )
    if size * prompt < SHORT * budget.tokens:
        raise _unmatched(
            recipe, f"whole prompts take {size * prompt} or {(size + 1) * prompt} tokens, not about {budget.tokens}"
        )
    return {"steps": steps, "prompts_per_step": size}


def _batches(budget: Budget) -> dict[str, Any]:
    """Steps, and tokens a step. Whether the corpus has so many is known once it is built."""
    return {"steps": budget.updates, "batch_tokens": max(budget.tokens // budget.updates, 1)}


def budget_grid(recipes: Sequence[Recipe], prompts: int) -> Grid:
    """What each arm of a comparison will use."""
    grid = Grid(
        f"Budget of each arm on the same {prompts} prompts (updates and tokens of the student's stage are matched)",
        ["Arm", "Before it", "Student's stage", "Updates", "Answers", "Longest", "Tokens at most"],
        texts=3,
    )
    for recipe in recipes:
        stage, budget = student_stage(recipe), own_budget(recipe, prompts)
        before = [_described(recipe, name, prompts) for name in recipe.stages[: recipe.stages.index(stage)]]
        answers = longest = MISSING
        if isinstance(section := getattr(recipe, stage), Distill):
            longest = f"{section.rollout.max_tokens:,}"
            answers = f"{budget.tokens // section.rollout.max_tokens:,}"
        spent = (f"{budget.updates:,}", answers, longest, f"{budget.tokens:,}")
        grid.add(recipe.name, ", ".join(before) or MISSING, stage, *spent)
    return grid


LEGEND = (
    "Updates: optimiser steps. Answers: rolled out by the student, each of the longest length at most; sft learns from "
    "its corpus instead, as many answers an update as the tokens hold. What stands before the student's stage is the "
    "method's own cost and is not matched."
)


def _updates(recipe: Recipe, stage: str, prompts: int) -> int:
    """Optimiser updates of a stage; of SFT at most, as a corpus may have fewer rows than there are prompts."""
    section = getattr(recipe, stage)
    if isinstance(section, Distill):
        from copsd_train.distill import total_steps

        return total_steps(section, prompts) * section.minibatches
    return section.steps or int(section.epochs * math.ceil(prompts / section.batch_size))


def _longest(recipe: Recipe) -> int:
    """Tokens of the longest answer that a corpus asks for."""
    length = getattr(recipe.corpus, "max_tokens", None)
    if length is None:
        raise _unmatched(
            recipe, "how long the answers of its data are is not known, and as the first recipe it decides"
        )
    return int(length)


def _described(recipe: Recipe, stage: str, prompts: int) -> str:
    section = getattr(recipe, stage)
    if not hasattr(section, "optimiser"):
        return stage
    return f"{stage} of the {section.adapter} (up to {_updates(recipe, stage, prompts)} updates)"


def _unmatched(recipe: Recipe, reason: str) -> CopsdError:
    return CopsdError(
        f"Recipe {recipe.name} cannot be matched: {reason}; change --updates, --budget-tokens or the recipe."
    )
