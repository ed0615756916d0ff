"""Losses of sampled tokens have the gradients of what they are named after, and means leave out what is masked."""

import math
from collections.abc import Callable

import pytest
import torch

from copsd_train import losses
from tests.train.tensors import close, gradient


@pytest.mark.parametrize("teacher_scale", [1.0, 3.0])
def test_the_policy_gradient_of_the_sampled_reward_is_minus_that_of_reverse_kl(teacher_scale: float) -> None:
    """Enumerated over the vocabulary: E_{v ~ p_S}[r(v) grad log p_S(v)] = -grad KL(student||teacher)."""
    generator = torch.Generator().manual_seed(4)
    student = torch.randn(9, dtype=torch.float64, generator=generator).requires_grad_()
    teacher = teacher_scale * torch.randn(9, dtype=torch.float64, generator=generator)
    log_s, log_t = losses.log_softmax(student), losses.log_softmax(teacher)
    reward = losses.sampled_reward(log_t, log_s, None, None)
    loss, clipped = losses.policy_loss(log_s, log_s, reward)
    expected_loss = (log_s.detach().exp() * loss).sum()  # each token with the probability of being sampled
    close(gradient(expected_loss, student), gradient(losses.divergence(student, teacher, 1.0), student))
    assert not clipped.any()


def test_the_reward_is_teacher_minus_student_clipped_unevenly() -> None:
    teacher, student = torch.tensor([-1.0, -9.0, -0.1]), torch.tensor([-2.0, -1.0, -9.0])
    assert losses.sampled_reward(teacher, student).tolist() == [1.0, -3.0, 5.0]
    assert losses.sampled_reward(teacher, student, None, 5.0).tolist() == [1.0, -8.0, 5.0]
    close(losses.sampled_reward(teacher, student, None, None), teacher - student)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [(1.0, 2.0, -2.0, False), (1.1, 2.0, -2.2, False), (1.5, 2.0, -2.4, True), (0.5, 2.0, -1.0, False),
     (0.5, -2.0, 1.6, True), (1.5, -2.0, 3.0, False), (1.5, 0.0, 0.0, False)],
)  # fmt: skip
def test_the_surrogate_stops_paying_outside_the_clip(
    ratio: float, advantage: float, loss: float, clipped: bool
) -> None:
    logprob = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    found, flags = losses.policy_loss(logprob, torch.zeros_like(logprob), torch.tensor([advantage]).double())
    close(found.detach(), torch.tensor([loss], dtype=torch.float64))
    assert flags.tolist() == [clipped]
    assert gradient(found, logprob).item() == pytest.approx(0.0 if clipped else -ratio * advantage)


def test_k3_is_unbiased_never_negative_and_pulls_towards_the_reference() -> None:
    generator = torch.Generator().manual_seed(5)
    student, reference = (torch.randn(9, dtype=torch.float64, generator=generator) for _ in range(2))
    log_s, log_r = losses.log_softmax(student), losses.log_softmax(reference)
    estimate = losses.k3(log_s, log_r)
    assert (estimate >= 0).all()
    close((log_s.exp() * estimate).sum(), losses.divergence(student, reference, 1.0))
    apart = log_s.detach().requires_grad_()
    assert (gradient(losses.k3(apart, log_r), apart).sign() == (apart - log_r).sign()).all()


def test_parts_divided_by_the_whole_batchs_count_add_up_to_the_whole_mean() -> None:
    values = torch.arange(12.0, dtype=torch.float64).reshape(4, 3).requires_grad_()
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0]]).bool()
    whole = losses.token_mean(values, mask)
    parts = [losses.token_mean(values[i : i + 1], mask[i : i + 1], mask.sum()) for i in range(4)]
    close(torch.stack(parts).sum(), whole)
    close(gradient(torch.stack(parts), values), gradient(whole, values))


def test_what_is_masked_out_counts_neither_in_value_nor_in_gradient() -> None:
    values = torch.tensor([1.0, torch.nan, torch.inf, 3.0], requires_grad=True)
    mask = torch.tensor([True, False, False, True])
    mean: Callable[[], torch.Tensor] = lambda: losses.token_mean(values, mask)  # noqa: E731
    assert mean().item() == 2.0
    assert gradient(mean(), values).tolist() == [0.5, 0.0, 0.0, 0.5]
    assert losses.token_mean(values, torch.zeros(4).bool()).item() == 0.0
