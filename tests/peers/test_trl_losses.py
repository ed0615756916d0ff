"""Losses are TRL's, in value and gradient, wherever TRL defines the same thing."""

import os
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from trl.experimental.gkd import GKDTrainer
from trl.experimental.sdft import loss_utils as sdft
from trl.trainer.distillation_trainer import _chunked_divergence_loss
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import nanstd

from copsd_train import advantages, losses, token_sets

BETAS = [0.0, 0.25, 0.5, 1.0]
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
IDS = torch.arange(12).reshape(3, 4)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def same(ours: torch.Tensor, theirs: torch.Tensor, inputs: torch.Tensor, mask: torch.Tensor = MASK) -> None:
    """Equal values, and equal gradients of the masked sum."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    weight = mask.to(ours.dtype) if ours.dim() else torch.ones_like(ours)
    gradients = [torch.autograd.grad((loss * weight).sum(), inputs)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_divergence_is_gkds_generalised_jsd_and_sdfts_full_logit_loss(beta: float) -> None:
    student, teacher = draw(3, 4, 50).requires_grad_(), draw(3, 4, 50, seed=1)
    ours = losses.divergence(student, teacher, beta)
    same(ours, sdft.compute_full_logit_self_distillation_loss(student, teacher, distillation_alpha=beta), student)
    labels = torch.where(MASK.bool(), IDS, -100)
    gkd = GKDTrainer.generalized_jsd_loss(student, teacher, labels, beta=beta)
    same(losses.token_mean(losses.divergence(student, teacher, beta), MASK), gkd, student)
    accumulated = GKDTrainer.generalized_jsd_loss(student, teacher, labels, beta=beta, num_items_in_batch=40)
    same(losses.token_mean(losses.divergence(student, teacher, beta), MASK, 40), accumulated, student)


@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("beta", BETAS)
def test_topk_is_sdfts_and_sdpos(beta: float, tail: bool) -> None:
    student, teacher = draw(3, 4, 50).requires_grad_(), draw(3, 4, 50, seed=1)
    theirs = sdft.compute_topk_self_distillation_loss(
        student, teacher, distillation_topk=10, distillation_alpha=beta, distillation_add_tail=tail
    )
    same(token_sets.topk_divergence(student, teacher, 10, beta, tail), theirs, student)


def test_the_policy_gradient_of_the_unclipped_reward_is_that_of_sdfts_sampled_token_loss() -> None:
    student, teacher = draw(3, 4, 50).requires_grad_(), draw(3, 4, 50, seed=1)
    theirs = sdft.compute_sampled_token_self_distillation_loss(student, teacher, IDS, distillation_alpha=1.0)
    logprobs = losses.token_logprobs(student, IDS)
    reward = losses.sampled_reward(losses.token_logprobs(teacher, IDS), logprobs, None, None)
    ours, _ = losses.policy_loss(logprobs, logprobs, reward)
    gradients = [torch.autograd.grad((loss * MASK).sum(), student)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_chunked_divergence_is_that_of_trls_tiles(beta: float) -> None:
    """float32, which is what TRL's tiles are computed in."""
    states, teacher_states = draw(3, 4, 6).float().requires_grad_(), draw(3, 4, 6, seed=1).float()
    weight, teacher_weight = draw(50, 6, seed=2).float(), draw(50, 6, seed=3).float()
    theirs, _, _ = _chunked_divergence_loss(states, teacher_states, weight, teacher_weight, MASK, beta)
    per_token = losses.chunked_divergence(
        states, lambda h: h @ weight.T, teacher_states, lambda h: h @ teacher_weight.T, beta, chunk=5
    )
    ours = losses.token_mean(per_token, MASK)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(loss, states)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("per_token", [True, False], ids=["token advantages", "row advantages"])
@pytest.mark.parametrize("kl", [0.0, 0.005])
def test_surrogate_clip_k3_and_token_mean_are_grpos(kl: float, per_token: bool) -> None:
    logprobs, old, reference = (draw(3, 4, seed=seed) / 8 - 2 for seed in range(3))
    logprobs.requires_grad_()
    advantage = draw(3, 4, seed=3) if per_token else draw(3, seed=3)
    trainer = grpo(logprobs, kl)
    theirs = GRPOTrainer._compute_loss(
        trainer,  # type: ignore[arg-type]
        None,
        {
            "prompt_ids": IDS[:, :2], "prompt_mask": MASK[:, :1].expand(3, 2), "completion_ids": IDS,
            "completion_mask": MASK, "advantages": advantage, "old_per_token_logps": old,
            "ref_per_token_logps": reference,
        },
    )  # fmt: skip
    surrogate, clipped = losses.policy_loss(logprobs, old, advantage if per_token else advantage.unsqueeze(1))
    penalty = losses.k3(logprobs, reference)
    same(losses.token_mean(surrogate + kl * penalty, MASK), theirs, logprobs)
    share = losses.token_mean(clipped.double(), MASK).item()
    assert 0 < share < 1
    assert trainer._metrics["train"]["clip_ratio/region_mean"] == [pytest.approx(share)]
    if kl:
        assert trainer._metrics["train"]["kl"] == [pytest.approx(losses.token_mean(penalty, MASK).item())]


def grpo(logprobs: torch.Tensor, kl: float) -> Any:
    """As much of a GRPOTrainer as its loss looks at, with given log-probabilities for the model's."""
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs, torch.zeros_like(logprobs), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        importance_sampling_level="token", beta=kl, epsilon_low=0.2, epsilon_high=0.2, loss_type="bnpo",
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None), use_vllm=False,
        model=SimpleNamespace(training=True), current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False,
        accelerator=SimpleNamespace(gather=lambda x: x, reduce=lambda x, reduction: x),
        _metrics=defaultdict(lambda: defaultdict(list)),
    )  # fmt: skip


def test_outcome_advantages_leave_unscored_rows_out_as_grpo_does() -> None:
    outcomes = torch.tensor([[1.0, 0.0, torch.nan, 0.4], [0.2, 0.9, 0.1, 0.3]], dtype=torch.float64)
    scaled = (outcomes - outcomes.nanmean(1, keepdim=True)) / (nanstd(outcomes, dim=1, keepdim=True) + 1e-4)
    groups = torch.arange(2).repeat_interleave(4)
    ours = advantages.outcome(outcomes.flatten(), torch.ones(8, 1).bool(), groups, epsilon=1e-4)
    # TRL takes its Bessel factor n / (n - 1) in float32.
    torch.testing.assert_close(ours.reshape(2, 4), scaled.nan_to_num(0.0), rtol=1e-7, atol=1e-12)
