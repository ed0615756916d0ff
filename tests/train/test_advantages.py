"""Advantages equal their definitions, and do not depend on what they must not depend on."""

import math
from collections.abc import Callable

import pytest
import torch

from copsd_train import advantages
from tests.train import naive

LENGTHS = [5, 3, 1, 4, 2, 5]
GROUPS = torch.tensor([7, 7, 7, 2, 2, 9])
MASK = torch.tensor(LENGTHS).unsqueeze(1) > torch.arange(5)
OUTCOMES = torch.tensor([1.0, 0.0, math.nan, 0.3, 0.8, 1.0], dtype=torch.float64)
Advantage = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def draw(seed: int = 0) -> torch.Tensor:
    """Rewards [6, 5], with values of no meaning outside the mask."""
    rewards = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.where(MASK, rewards, torch.nan)


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=atol)


EVERY: dict[str, Advantage] = {
    "token_group": advantages.token_group,
    "return_to_go": lambda r, m, g: advantages.return_to_go(r, m, g, gamma=0.9),
    "outcome": lambda r, m, g: advantages.outcome(r[:, 0], m, g),
    "hybrid": lambda r, m, g: advantages.hybrid(r[:, 0], r, m, g),
    "self_distilled": lambda r, m, g: advantages.self_distilled(r[:, 0], r, m, g, epsilon=0.2),
}
every = pytest.mark.parametrize("name", list(EVERY))


@pytest.mark.parametrize("normalise", [True, False])
def test_each_is_its_definition(normalise: bool) -> None:
    rewards, groups = draw(), GROUPS.tolist()
    pooled = naive.token_group(rewards.tolist(), LENGTHS, groups, normalise)
    close(advantages.token_group(rewards, MASK, GROUPS, normalise), torch.tensor(pooled, dtype=torch.float64))
    for gamma in (0.0, 0.9, 1.0):
        for min_rows in (1, 2, 3):
            steps = naive.return_to_go(rewards.tolist(), LENGTHS, groups, gamma, min_rows, normalise)
            found = advantages.return_to_go(rewards, MASK, GROUPS, gamma, min_rows, normalise)
            close(found, torch.tensor(steps, dtype=torch.float64))
    rows = torch.tensor(naive.outcome(OUTCOMES.tolist(), groups, normalise), dtype=torch.float64).unsqueeze(1)
    close(advantages.outcome(OUTCOMES, MASK, GROUPS, normalise), rows * MASK)
    token = torch.tensor(pooled, dtype=torch.float64)
    mixed = advantages.hybrid(OUTCOMES, rewards, MASK, GROUPS, lam=0.3, normalise=normalise)
    close(mixed, rows * (1 + 0.3 * rows.sign() * token) * MASK)
    weight = (rows.sign() * rewards.nan_to_num()).exp().clamp(0.8, 1.2)
    distilled = advantages.self_distilled(OUTCOMES, rewards, MASK, GROUPS, 0.2, normalise)
    close(distilled, rows * weight * MASK)


@every
def test_what_is_outside_the_mask_neither_counts_nor_has_an_advantage(name: str) -> None:
    rewards = draw()
    found = EVERY[name](rewards, MASK, GROUPS)
    assert (found[~MASK] == 0).all()
    close(EVERY[name](torch.where(MASK, rewards, 1e6), MASK, GROUPS), found)


@every
def test_groups_are_independent_and_their_order_does_not_matter(name: str) -> None:
    rewards = draw()
    found = EVERY[name](rewards, MASK, GROUPS)
    alone = GROUPS == 7
    close(EVERY[name](rewards[alone], MASK[alone], GROUPS[alone]), found[alone])
    order = torch.tensor([3, 5, 0, 4, 2, 1])
    close(EVERY[name](rewards[order], MASK[order], GROUPS[order]), found[order])


@every
def test_half_precision_rewards_are_computed_with_in_float32(name: str) -> None:
    rewards = draw().bfloat16()
    found = EVERY[name](rewards, MASK, GROUPS)
    assert found.dtype == torch.float32
    close(found, EVERY[name](rewards.double(), MASK, GROUPS).float(), atol=1e-4)


@pytest.mark.parametrize("normalise", [True, False])
def test_a_constant_added_to_the_rewards_changes_nothing(normalise: bool) -> None:
    rewards = draw()
    close(
        advantages.token_group(rewards + 0.02, MASK, GROUPS, normalise),
        advantages.token_group(rewards, MASK, GROUPS, normalise),
    )
    close(
        advantages.outcome(OUTCOMES + 2, MASK, GROUPS, normalise),
        advantages.outcome(OUTCOMES, MASK, GROUPS, normalise),
    )
    even, whole = rewards.nan_to_num(), torch.ones_like(MASK)
    close(
        advantages.return_to_go(even + 0.02, whole, GROUPS, 0.9, normalise=normalise),
        advantages.return_to_go(even, whole, GROUPS, 0.9, normalise=normalise),
    )


def test_in_a_ragged_group_a_constant_reward_pays_for_length_by_return_to_go_but_not_by_token_group() -> None:
    constant = torch.where(MASK, 1.0, torch.nan).double()
    found = advantages.return_to_go(constant, MASK, GROUPS)
    assert found[0, 0] > found[1, 0] > found[2, 0]  # lengths 5, 3, 1
    assert (advantages.token_group(constant, MASK, GROUPS) == 0).all()


def test_a_step_that_too_few_rows_reach_has_no_advantage() -> None:
    for min_rows, steps in ((2, 3), (3, 1)):
        found = advantages.return_to_go(draw(), MASK, GROUPS, min_rows=min_rows)[:3]
        assert (found[:, steps:] == 0).all()
        assert (found[:, :steps][MASK[:3, :steps]] != 0).all()
    # With one row a step the rule gives what Eq. 22 gives: the mean is the row itself.
    close(advantages.return_to_go(draw(), MASK, GROUPS, min_rows=1), advantages.return_to_go(draw(), MASK, GROUPS))


def test_return_to_go_without_a_future_compares_each_steps_own_rewards() -> None:
    rewards = torch.tensor([[1.0, 5.0], [3.0, 4.0]])
    found = advantages.return_to_go(rewards, torch.ones(2, 2).bool(), torch.zeros(2).long(), 0.0, normalise=False)
    assert found.tolist() == [[-1.0, 0.5], [1.0, -0.5]]


def test_an_unscored_row_leaves_its_group_and_is_no_outcome_of_zero() -> None:
    mask, groups = torch.ones(3, 2).bool(), torch.zeros(3).long()
    unscored = advantages.outcome(torch.tensor([1.0, 0.5, math.nan]), mask, groups)
    zero = advantages.outcome(torch.tensor([1.0, 0.5, 0.0]), mask, groups)
    assert unscored[2].tolist() == [0.0, 0.0]
    close(unscored[:2], advantages.outcome(torch.tensor([1.0, 0.5]), mask[:2], groups[:2]))
    assert not torch.allclose(unscored, zero)
    assert (advantages.outcome(torch.full((3,), math.nan), mask, groups) == 0).all()


@every
def test_rewards_that_agree_everywhere_teach_nothing(name: str) -> None:
    rewards = torch.where(MASK, 0.7, torch.nan)  # in float32, the mean of several is not 0.7
    if name == "return_to_go":  # a constant is a length bonus there
        rewards = torch.where(MASK, 0.0, torch.nan)
    assert (EVERY[name](rewards, MASK, GROUPS) == 0).all()


def test_normalising_makes_a_whisper_as_loud_as_a_shout_and_centring_does_not() -> None:
    rewards = draw()
    for scale in (1.0, 1e-3):
        loud = advantages.token_group(scale * rewards, MASK, GROUPS)
        quiet = advantages.token_group(scale * rewards, MASK, GROUPS, normalise=False)
        assert loud[:3][MASK[:3]].std() == pytest.approx(1.0, rel=1e-2)
        assert quiet[:3][MASK[:3]].std() == pytest.approx(scale * rewards[:3][MASK[:3]].std().item())


def test_the_hybrid_moves_weight_towards_tokens_the_teacher_likes_and_keeps_the_outcomes_sign() -> None:
    mask, groups = torch.ones(2, 3).bool(), torch.zeros(2).long()
    rewards = torch.tensor([[0.1, -0.1, 0.0], [0.1, -0.1, 0.0]])
    found = advantages.hybrid(torch.tensor([1.0, 0.0]), rewards, mask, groups)
    liked, disliked, neither = range(3)
    assert found[0, liked] > found[0, neither] > found[0, disliked] > 0
    assert found[1, disliked] < found[1, neither] < 0 > found[1, liked] > found[1, neither]
    plain = advantages.hybrid(torch.tensor([1.0, 0.0]), rewards, mask, groups, lam=0.0)
    close(plain, advantages.outcome(torch.tensor([1.0, 0.0]), mask, groups))


def test_no_rows_no_advantages() -> None:
    none = torch.zeros(0, 4)
    for advantage in (EVERY["token_group"], EVERY["return_to_go"]):
        assert advantage(none, none.bool(), torch.zeros(0).long()).shape == (0, 4)
