"""Divergences over the whole vocabulary equal their definitions, vanish at agreement, and reach the student alone."""

import math

import pytest
import torch

from copsd_train import losses, token_sets
from tests.train import naive
from tests.train.tensors import BETAS, Tensors, close, gradient


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("beta", BETAS)
def test_divergence_is_its_definition(logits: Tensors, beta: losses.Beta, clip: float | None) -> None:
    def definition(s: list[float], t: list[float]) -> float:
        return naive.divergence(naive.softmax(s), naive.softmax(t), beta, math.inf if clip is None else clip)

    close(losses.divergence(*logits, beta, clip).detach(), naive.rows(definition, *logits))


def test_the_ends_are_torchs_kl_div_and_the_jsds_limits(logits: Tensors) -> None:
    finite = [z.index_select(-1, torch.tensor([0, 1, 2, 3, 5, 6])) / 3 for z in logits]
    student, teacher = (z.log_softmax(-1) for z in finite)
    forward, reverse = (losses.divergence(*finite, beta) for beta in (0.0, 1.0))
    close(forward, torch.nn.functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1))
    close(reverse, torch.nn.functional.kl_div(teacher, student, reduction="none", log_target=True).sum(-1))
    close(losses.divergence(*finite, "symmetric"), (forward + reverse) / 2)
    tiny = 1e-7
    close(losses.divergence(*finite, tiny) / tiny, forward, rtol=1e-4, atol=1e-4)
    close(losses.divergence(*finite, 1 - tiny) / tiny, reverse, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beta", BETAS)
def test_a_divergence_is_nonnegative_and_zero_with_no_gradient_where_both_agree(
    logits: Tensors, beta: losses.Beta
) -> None:
    assert (losses.divergence(*logits, beta) > 0).all()
    agreed = losses.divergence(logits[0], logits[0], beta)
    close(agreed, torch.zeros_like(agreed), rtol=0, atol=1e-15)
    close(gradient(agreed, logits[0]), torch.zeros_like(logits[0]), rtol=0, atol=1e-15)


def test_the_gate_opens_where_the_teacher_is_unsure() -> None:
    assert losses.entropy_gate(torch.tensor([0.1, 0.5, 0.9]), 0.5).tolist() == [False, False, True]


def test_no_gradient_reaches_the_teacher(logits: Tensors) -> None:
    student, teacher = logits
    ids = torch.zeros(2, 3, dtype=torch.long)
    values = [losses.divergence(student, teacher, beta) for beta in BETAS]
    values += [token_sets.topk_divergence(student, teacher, 3, 1.0, tail=tail) for tail in (True, False)]
    values += [token_sets.topk_divergence(student, teacher, 3, 1.0, stop_gradient=True, support="teacher")]
    values += [
        token_sets.token_set_divergence(student, teacher, torch.tensor([1, 2]), 1.0, v) for v in token_sets.OUTSIDE
    ]
    logprobs = losses.token_logprobs(student, ids)
    values += [losses.k3(logprobs, losses.token_logprobs(teacher, ids))]
    for value in values:
        assert value.requires_grad
        assert torch.autograd.grad(value.sum(), teacher, allow_unused=True, retain_graph=True) == (None,)
    assert not losses.sampled_reward(losses.token_logprobs(teacher, ids), logprobs).requires_grad


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_gradients_stay_finite_on_masked_vocabularies_and_peaked_distributions(beta: losses.Beta, scale: float) -> None:
    student, teacher = scale * torch.eye(5), scale * torch.eye(5).roll(1, dims=0)
    student[:, 4] = teacher[:, 4] = -torch.inf
    student.requires_grad_()
    for value in (
        losses.divergence(student, teacher, beta),
        losses.divergence(student, teacher, beta, clip=0.05),
        token_sets.topk_divergence(student, teacher, 2, beta, tail=True),
        token_sets.topk_divergence(student, teacher, 2, beta),
        *(token_sets.token_set_divergence(student, teacher, torch.tensor([0, 4]), beta, v) for v in token_sets.OUTSIDE),
    ):
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient(value, student)).all()


def test_half_precision_is_computed_with_in_float32() -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(4, 4096, generator=generator).bfloat16() for _ in range(2))
    for beta in BETAS:
        found = losses.divergence(student, teacher, beta)
        assert found.dtype == torch.float32
        close(found, losses.divergence(student.double(), teacher.double(), beta).float(), rtol=1e-5, atol=1e-6)
    assert losses.token_logprobs(student, torch.zeros(4, dtype=torch.long)).dtype == torch.float32
