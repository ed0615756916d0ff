"""Budgets: a recipe meets that of another, in updates exactly and in tokens within a tenth, or says why it cannot."""

from itertools import chain, islice, pairwise

import pytest

from copsd_bench.errors import CopsdError
from copsd_train import sft
from copsd_train.budget import SHORT, Budget, at_budget, budget_grid, own_budget
from copsd_train.load_recipe import load_recipe, recipe_names

PROMPTS = 96
DEMO = Budget(updates=24, tokens=24 * 16 * 64)
"""12 steps of 2 updates, each on 4 prompts with 4 answers of 64 tokens at most (sizes/demo.yaml)."""


def test_the_demos_own_budget_is_counted_by_hand() -> None:
    assert own_budget(load_recipe("opsd-const", demo=True), PROMPTS) == DEMO
    assert own_budget(load_recipe("sft", demo=True), PROMPTS) == Budget(2 * 96 // 8, 24 * 8 * 128)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_meets_the_demo_budget(name: str) -> None:
    recipe = at_budget(load_recipe(name, demo=True), DEMO, PROMPTS)
    found = own_budget(recipe, PROMPTS)
    assert found.updates == DEMO.updates
    assert SHORT * DEMO.tokens <= found.tokens <= DEMO.tokens
    assert name in "".join(chain.from_iterable(budget_grid([recipe], [PROMPTS]).rows))


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        (Budget(25, DEMO.tokens), "25 updates are no multiple of its 2 a step"),
        (
            Budget(24, 5000),
            r"5000 tokens are too few for the 2 prompts that a step of it has at least \(these take 6144\)",
        ),
        (Budget(24, 10**6), r"1000000 tokens are more than all 96 prompts in every step take \(294912\)"),
        (Budget(24, 9000), "whole prompts take 6144 or 9216 tokens, not about 9000"),
    ],
)
def test_a_recipe_that_cannot_be_matched_says_why(budget: Budget, sentence: str) -> None:
    with pytest.raises(CopsdError, match=f"Recipe opsa cannot be matched: {sentence}; change --updates"):
        at_budget(load_recipe("opsa", demo=True), budget, PROMPTS)


def test_sft_fills_each_batch_up_to_its_tokens_and_passes_over_all_rows() -> None:
    lengths = [3, 5, 2, 7, 1, 4, 6, 2]
    config = load_recipe("sft", ["sft.steps=9", "sft.batch_tokens=8"]).sft
    assert config is not None
    assert sft.total_steps(config, len(lengths)) == 9
    found = list(islice(sft.batches(lengths, config.batch_size, config.batch_tokens, 0, "sft"), 9))
    assert all(sum(lengths[i] for i in batch) <= 8 for batch in found)
    rows = list(chain.from_iterable(found))
    assert sorted(rows[:8]) == list(range(8))  # an epoch passes over each row once
    for before, after in pairwise(found):
        epoch_ends = (sum(map(len, found[: found.index(before) + 1]))) % 8 == 0
        assert epoch_ends or sum(lengths[i] for i in (*before, after[0])) > 8  # one more would not have fitted


def test_batches_of_rows_are_cut_evenly_within_each_epoch() -> None:
    config = load_recipe("sft", ["sft.batch_size=3", "sft.epochs=2"]).sft
    assert config is not None
    found = list(islice(sft.batches([5] * 7, config.batch_size, None, 1, "sft"), sft.total_steps(config, 7)))
    assert [len(batch) for batch in found] == [3, 3, 1, 3, 3, 1]
    assert sorted(chain.from_iterable(found)) == sorted([*range(7), *range(7)])
