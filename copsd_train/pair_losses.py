"""Losses on pairs of answers, as pure functions of log-probabilities. Shapes: N pairs; nats, one value a pair."""

import torch
from torch.nn.functional import logsigmoid


def dpo_margin(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """How much more than the reference the student prefers `chosen`, times beta, [N] (arXiv 2305.18290, Eq. 7).

    Args:
        chosen, rejected: log-probability of each whole answer under the student, [N].
        reference_chosen, reference_rejected: under the reference, [N]; constants.
        beta: strength of the pull to the reference.
    """
    return beta * ((chosen - reference_chosen.detach()) - (rejected - reference_rejected.detach()))


def soft_dpo(margins: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the preference sigmoid(margin) to a soft label, [N] x [N] -> [N].

    A label of 1 is DPO (arXiv 2305.18290, Eq. 7); 1 - e is DPO with labels smoothed by e (conservative DPO). The
    gradient vanishes where sigmoid(margin) equals the label, so that a near tie pulls at nothing.
    """
    return -labels * logsigmoid(margins) - (1 - labels) * logsigmoid(-margins)
