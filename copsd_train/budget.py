"""What a recipe spends on its student, and the same recipe at another budget: so that arms of a comparison match.

Two numbers are matched, of the stage that makes the student (the last one that trains): its optimiser updates, and the
answer tokens it learns from at most. On-policy stages roll so many answers out, each no longer than its limit. SFT
takes the answers of its corpus instead, in as many passes as the updates need, and fills each batch up to its share of
the tokens; preference learning takes whole pairs. What comes before that stage, a corpus or a teacher's fine-tuning, is
a method's own cost: it is shown, not matched.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from copsd_bench.errors import CopsdError
from copsd_bench.records.format import MISSING
from copsd_bench.records.grid import Grid
from copsd_train.load_recipe import merged, validated
from copsd_train.recipe import Recipe

SHORT = 0.9
"""The least share of a budget's tokens that counts as matched, as a step holds whole prompts."""
LEGEND = (
    "Updates: optimiser steps. Answers: rolled out by the student, each of the longest length at most; sft learns from "
    "its corpus instead, as many answers an update as the tokens hold. Prompts: all, or for a one-sided recipe those "
    "that are to be refused. What stands before the student's stage is the method's own cost and is not matched."
)


@dataclass(frozen=True)
class Budget:
    """Optimiser updates of the student, and answer tokens it learns from at most."""

    updates: int
    tokens: int


@dataclass(frozen=True)
class Rule:
    """How a stage that trains spends.

    Attributes:
        own: recipe and number of prompts -> what the stage spends by itself.
        sizes: recipe, budget and number of prompts -> the settings of the stage that meet the budget.
        longest: tokens of the longest answer, where each of a known number of answers has a limit.
    """

    own: Callable[[Recipe, int], Budget]
    sizes: Callable[[Recipe, Budget, int], dict[str, Any]]
    longest: Callable[[Recipe], int | None]


def student_stage(recipe: Recipe) -> str:
    """The stage that makes the student: the last one that trains.

    Raises:
        CopsdError: it is of a sort whose cost is not known.
    """
    trained = [name for name in recipe.stages if hasattr(getattr(recipe, name), "optimiser")]
    if trained[-1] not in RULES:
        raise _unmatched(recipe, f"what its last stage, {trained[-1]}, spends is not known")
    return trained[-1]


def own_budget(recipe: Recipe, prompts: int) -> Budget:
    """What a recipe spends on its student by itself, given its number of prompts.

    Raises:
        CopsdError: that is not known beforehand.
    """
    return RULES[student_stage(recipe)].own(recipe, prompts)


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
    sizes = RULES[stage].sizes(recipe, budget, prompts)
    return validated(merged(recipe.model_dump(mode="json"), {stage: sizes}), recipe.name)


def budget_grid(recipes: Sequence[Recipe], prompts: Sequence[int]) -> Grid:
    """What each arm of a comparison will use, given the number of prompts that each trains on."""
    grid = Grid(
        "Budget of each arm on the same prompts (updates and tokens of the student's stage are matched)",
        ["Arm", "Before it", "Student's stage", "Prompts", "Updates", "Answers", "Longest", "Tokens at most"],
        texts=3,
    )
    for recipe, count in zip(recipes, prompts, strict=True):
        stage, budget = student_stage(recipe), own_budget(recipe, count)
        before = [_described(recipe, name, count) for name in recipe.stages[: recipe.stages.index(stage)]]
        longest = RULES[stage].longest(recipe)
        answers = (MISSING, MISSING) if longest is None else (f"{budget.tokens // longest:,}", f"{longest:,}")
        numbers = (f"{count:,}", f"{budget.updates:,}", *answers, f"{budget.tokens:,}")
        grid.add(recipe.name, ", ".join(before) or MISSING, stage, *numbers)
    return grid


def _distill_own(recipe: Recipe, prompts: int) -> Budget:
    from copsd_train.distill import total_steps

    assert recipe.distill is not None
    stage, rollout = recipe.distill, recipe.distill.rollout
    steps = total_steps(stage, prompts)
    tokens = steps * stage.prompts_per_step * rollout.per_prompt * rollout.max_tokens
    return Budget(steps * stage.minibatches, tokens)


def _distill_sizes(recipe: Recipe, budget: Budget, prompts: int) -> dict[str, Any]:
    """Steps, and prompts a step."""
    assert recipe.distill is not None
    stage, rollout = recipe.distill, recipe.distill.rollout
    steps, rest = divmod(budget.updates, stage.minibatches)
    if rest:
        raise _unmatched(recipe, f"{budget.updates} updates are no multiple of its {stage.minibatches} a step")
    size = _whole(
        recipe, budget, steps * rollout.per_prompt * rollout.max_tokens, "prompts", stage.minibatches, prompts
    )
    return {"steps": steps, "prompts_per_step": size}


def _sft_own(recipe: Recipe, prompts: int) -> Budget:
    """With a row a prompt: a corpus has fewer where answers are dropped, and more where each revision is learned."""
    assert recipe.sft is not None
    stage = recipe.sft
    updates = _passes(stage, prompts)
    return Budget(updates, updates * (stage.batch_tokens or stage.batch_size * _longest_of_corpus(recipe)))


def _sft_sizes(recipe: Recipe, budget: Budget, prompts: int) -> dict[str, Any]:
    """Steps, and tokens a step. Whether the corpus has so many is known once it is built."""
    return {"steps": budget.updates, "batch_tokens": max(budget.tokens // budget.updates, 1)}


def _preference_own(recipe: Recipe, prompts: int) -> Budget:
    """At most, as there may be fewer pairs than prompts."""
    assert recipe.preference is not None
    updates = _passes(recipe.preference, prompts)
    return Budget(updates, updates * recipe.preference.batch_size * 2 * _longest_of_pairs(recipe))


def _preference_sizes(recipe: Recipe, budget: Budget, prompts: int) -> dict[str, Any]:
    """Steps, and pairs a step."""
    each = budget.updates * 2 * _longest_of_pairs(recipe)
    return {"steps": budget.updates, "batch_size": _whole(recipe, budget, each, "pairs", 1, prompts)}


def _longest_of_pairs(recipe: Recipe) -> int:
    """Tokens of the longest answer that is compared."""
    assert recipe.preference is not None
    rollout = recipe.preference.rollout if recipe.preference.pairs == "ai" else None
    return rollout.max_tokens if rollout is not None else _longest_of_corpus(recipe)


RULES = {
    "sft": Rule(_sft_own, _sft_sizes, lambda recipe: None),
    "preference": Rule(_preference_own, _preference_sizes, _longest_of_pairs),
    "distill": Rule(
        _distill_own, _distill_sizes, lambda recipe: recipe.distill.rollout.max_tokens if recipe.distill else None
    ),
}
"""Stage -> how it spends."""


def _whole(recipe: Recipe, budget: Budget, each: int, what: str, fewest: int, most: int) -> int:
    """How many prompts (or pairs) a step may have, if each takes so many tokens over the whole training."""
    size = budget.tokens // each
    if size < fewest:
        raise _unmatched(
            recipe,
            f"{budget.tokens} tokens are too few for the {fewest} {what} that a step of it has at least (these take "
            f"{each * fewest})",
        )
    if size > most:
        raise _unmatched(
            recipe, f"{budget.tokens} tokens are more than all {most} {what} in every step take ({each * most})"
        )
    if size * each < SHORT * budget.tokens:
        raise _unmatched(
            recipe, f"whole {what} take {size * each} or {(size + 1) * each} tokens, not about {budget.tokens}"
        )
    return size


def _passes(stage: Any, rows: int) -> int:
    """Updates of a stage that passes over rows in batches."""
    return int(stage.steps or stage.epochs * math.ceil(rows / stage.batch_size))


def _longest_of_corpus(recipe: Recipe) -> int:
    """Tokens of the longest answer that a corpus asks for."""
    length = getattr(recipe.corpus, "max_tokens", None)
    if length is None:
        raise _unmatched(
            recipe, "how long the answers of its data are is not known; give the budget, or name another recipe first"
        )
    return int(length)


def _described(recipe: Recipe, stage: str, prompts: int) -> str:
    section = getattr(recipe, stage)
    if not hasattr(section, "optimiser"):
        return stage
    return f"{stage} of the {getattr(section, 'adapter', 'student')} (about {_passes(section, prompts)} updates)"


def _unmatched(recipe: Recipe, reason: str) -> CopsdError:
    return CopsdError(
        f"Recipe {recipe.name} cannot be matched: {reason}; change --updates, --budget-tokens or the recipe."
    )
