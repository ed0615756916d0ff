"""The loss on pairs is TRL's, in value and gradient: DPO, and its form for labels that are wrong at times."""

import os
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from trl.trainer.dpo_trainer import DPOTrainer

from copsd_train.pair_losses import dpo_margin, soft_dpo

BETA = 0.3
MASK = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
"""Answer tokens of two chosen and then two rejected answers, after a prompt of one token."""


def draw(*shape: int, seed: int) -> torch.Tensor:
    return -3 * torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def trl(logprobs: torch.Tensor, reference: torch.Tensor, loss_type: str, smoothing: float) -> torch.Tensor:
    """TRL's own loss of a step, with a model that gives these log-probabilities of the answers' tokens."""
    zeros = torch.zeros(4, 3)
    outputs = SimpleNamespace(
        log_probs=logprobs * MASK, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool(), aux_loss=None
    )
    same = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False), accelerator=same, aux_loss_enabled=False, ld_alpha=None,
        precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_types=[loss_type], loss_weights=[1.0],
        beta=BETA, label_smoothing=smoothing, use_weighting=False,
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)}, _total_train_tokens=0,
    )  # fmt: skip
    sums = (reference * MASK).sum(dim=1)
    prompt = torch.zeros(4, 1, dtype=torch.long)
    inputs: dict[str, Any] = {
        "input_ids": torch.ones(4, 4, dtype=torch.long), "attention_mask": torch.cat([prompt + 1, MASK], dim=1),
        "completion_mask": torch.cat([prompt, MASK], dim=1),
        "ref_chosen_logps": sums[:2], "ref_rejected_logps": sums[2:],
    }  # fmt: skip
    loss: torch.Tensor = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
    return loss


@pytest.mark.parametrize(
    ("loss_type", "smoothing", "label"),
    [("sigmoid", 0.0, 1.0), ("robust", 0.1, 0.9 / 0.8), ("robust", 0.3, 0.7 / 0.4)],
    ids=["dpo", "robust 0.1", "robust 0.3"],
)
def test_soft_dpo_is_trls_loss(loss_type: str, smoothing: float, label: float) -> None:
    """The robust loss with smoothing e is the soft loss with the label (1 - e) / (1 - 2e)."""
    logprobs, reference = draw(4, 3, seed=0).requires_grad_(), draw(4, 3, seed=1)
    chosen, rejected = (logprobs * MASK).sum(dim=1).chunk(2)
    margins = dpo_margin(chosen, rejected, *(reference * MASK).sum(dim=1).chunk(2), BETA)
    ours = soft_dpo(margins, torch.full((2,), label, dtype=torch.float64)).mean()
    theirs = trl(logprobs, reference, loss_type, smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(loss, logprobs)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)
