"""What a recipe spends on its student, and the same recipe at another budget: so that arms of a comparison match.

Two numbers are matched, of the stage that makes the student (the last one that trains): its optimiser updates, and the
answer tokens it learns from, counted as answers times the longest answer allowed. On-policy stages roll these answers
out; SFT takes those of its corpus, in as many passes as the updates need. What comes before that stage, a corpus or a
teacher's fine-tuning, is a method's own cost: it is shown beside the budget, not matched.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from copsd_bench.errors import CopsdError
from copsd_bench.records.grid import Grid
from copsd_train.distill_recipe import Distill
from copsd_train.load_recipe import merged, validated
from copsd_train.recipe import Recipe
from copsd_train.recipe_parts import Sft

SHORT = 0.9
"""The least share of a budget's tokens that counts as matched: steps hold whole prompts, batches whole answers."""


@dataclass(frozen=True)
class Budget:
    """Optimiser updates of the student, and answer tokens it learns from at most."""

    updates: int
    tokens: int


@dataclass(frozen=True)
class Spending:
    """What the student's stage of a recipe takes.

    Attributes:
        stage: its name.
        updates: of the optimiser.
        answers: learned from, over all updates.
        length: tokens of the longest answer allowed.
        before: what comes before that stage.
    """

    stage: str
    updates: int
    answers: int
    length: int
    before: str

    @property
    def budget(self) -> Budget:
        """The two numbers that are matched."""
        return Budget(self.updates, self.answers * self.length)


def student_stage(recipe: Recipe) -> str:
    """The stage that makes the student: the last one that trains.

    Raises:
        CopsdError: it is of a sort whose cost is not known.
    """
    trained = [name for name in recipe.stages if hasattr(getattr(recipe, name), "optimiser")]
    if not isinstance(getattr(recipe, trained[-1]), Distill | Sft):
        raise _unmatched(recipe, f"what its last stage, {trained[-1]}, spends is not known")
    return trained[-1]


def spending(recipe: Recipe, prompts: int) -> Spending:
    """What a recipe spends on its student, given its number of prompts.

    Raises:
        CopsdError: the cost of the stage that makes its student is not known.
    """
    stage = student_stage(recipe)
    section, before = getattr(recipe, stage), recipe.stages[: recipe.stages.index(stage)]
    updates = _updates(recipe, stage, prompts)
    if isinstance(section, Distill):
        answers = updates // section.minibatches * section.prompts_per_step * section.rollout.per_prompt
    else:
        answers = updates * section.batch_size
    return Spending(
        stage, updates, answers, _length(recipe, stage), ", ".join(_described(recipe, name, prompts) for name in before)
    )


def at_budget(recipe: Recipe, budget: Budget, prompts: int) -> Recipe:
    """The recipe with the sizes that meet a budget: never more tokens, and at most a tenth less.

    Args:
        recipe: whose mini-batches, answers a prompt and longest answer stay as they are.
        budget: to be met.
        prompts: how many there are.

    Raises:
        CopsdError: no whole number of steps, prompts or answers meets it; how it could be met.
    """
    stage = student_stage(recipe)
    section, length = getattr(recipe, stage), _length(recipe, stage)
    if isinstance(section, Distill):
        steps, rest = divmod(budget.updates, section.minibatches)
        if rest or not steps:
            raise _unmatched(recipe, f"{budget.updates} updates are no multiple of its {section.minibatches} a step")
        unit = section.rollout.per_prompt * length
        size = budget.tokens // (steps * unit)
        what, key, least = "prompts a step", "prompts_per_step", section.minibatches
    else:
        steps, unit = budget.updates, length
        size = budget.tokens // (steps * unit)
        what, key, least = "answers a step", "batch_size", 1
    if size < least:
        raise _unmatched(
            recipe, f"{budget.tokens} tokens give less than {least} {what}; it needs {steps * unit * least}"
        )
    if size > prompts:
        raise _unmatched(recipe, f"{budget.tokens} tokens give {size} {what}, but there are {prompts} prompts")
    if steps * size * unit < SHORT * budget.tokens:
        meets = f"{steps * size * unit} or {steps * (size + 1) * unit}"
        raise _unmatched(recipe, f"whole {what} come to {meets} tokens, not near {budget.tokens}")
    sizes: dict[str, Any] = {stage: {"steps": steps, key: size}}
    return validated(merged(recipe.model_dump(mode="json"), sizes), recipe.name)


def budget_grid(recipes: Sequence[Recipe], prompts: int) -> Grid:
    """What each arm of a comparison will use."""
    grid = Grid(
        f"Budget of each arm on the same {prompts} prompts (updates and tokens of the student's stage are matched)",
        ["Arm", "Before it", "Student's stage", "Updates", "Answers", "Longest", "Tokens at most"],
        texts=3,
    )
    for recipe in recipes:
        found = spending(recipe, prompts)
        numbers = (found.updates, found.answers, found.length, found.budget.tokens)
        grid.add(recipe.name, found.before or "–", found.stage, *(f"{number:,}" for number in numbers))
    return grid


LEGEND = (
    "Updates: optimiser steps. Answers: learned from, rolled out by the student or (sft) taken from its corpus. "
    "Longest: tokens of an answer. What stands before the student's stage is the method's own cost and is not matched."
)


def _updates(recipe: Recipe, stage: str, prompts: int) -> int:
    """Optimiser updates of a stage; of SFT at most, as a corpus may have fewer rows than there are prompts."""
    section = getattr(recipe, stage)
    if isinstance(section, Distill):
        from copsd_train.distill import total_steps

        return total_steps(section, prompts) * section.minibatches
    return section.steps or int(section.epochs * math.ceil(prompts / section.batch_size))


def _length(recipe: Recipe, stage: str) -> int:
    """Tokens of the longest answer that a stage learns from."""
    section = getattr(recipe, stage)
    if isinstance(section, Distill):
        return section.rollout.max_tokens
    length = getattr(recipe.corpus, "max_tokens", None) if section.data == "corpus" else None
    if length is None:
        raise _unmatched(recipe, f"{stage}.data names a file, whose longest answer is not known; take a corpus")
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
