"""Divergences on some tokens of the vocabulary: the k likeliest of each position, or one fixed set.

Shapes, units and `beta` are those of `losses.py`. What becomes of all other tokens is what these losses differ in.
"""

from typing import Literal

import torch

from copsd_train.losses import Beta, divergence_of, kl_terms, log_softmax

Outside = Literal["drop", "renormalise", "tail"]
Variant = Literal["released", "tail", "generalised", "renormalised"]
OUTSIDE: dict[Variant, Outside] = {
    "released": "drop",
    "tail": "tail",
    "generalised": "drop",
    "renormalised": "renormalise",
}
"""What each variant of the divergence on a token set does with all other tokens."""


def topk_divergence(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    k: int,
    beta: Beta,
    tail: bool = False,
    stop_gradient: bool = False,
    support: Literal["student", "teacher"] = "student",
) -> torch.Tensor:
    """Divergence on the k likeliest tokens of each position, [N, V] x [N, V] -> [N].

    A plain reverse KL(student||teacher) cut to k tokens is biased: d(p log p)/dp leaves a "+1", which sums to zero over
    the vocabulary but not over k tokens, so that a token is promoted only where the teacher gives it e times the
    student's probability (arXiv 2605.11182). Each setting here avoids that.

    Args:
        student_logits: [N, V].
        teacher_logits: [N, V].
        k: tokens kept; all of them where k is V or more.
        beta: 0 forward KL(teacher||student), 1 reverse KL(student||teacher), between them generalised JSD; `symmetric`.
        tail: lump all other tokens into one bucket (SDPO, arXiv 2601.20802); else both distributions are renormalised
            over the k tokens.
        stop_gradient: differentiate the student's probability, not its logarithm: sum_k p_S [sg(log p_S) - log p_T],
            not renormalised (arXiv 2605.11182). Needs beta = 1. With `tail` the gradient is that of `tail` alone.
        support: whose k likeliest tokens (SDPO and OPCD take the student's, OPSD the teacher's).

    Raises:
        ValueError: stop_gradient with another beta than 1.
    """
    if stop_gradient and beta != 1:
        raise ValueError(f"stop_gradient is defined for reverse KL (beta = 1), not for beta = {beta}")
    chosen = student_logits if support == "student" else teacher_logits
    ids = chosen.detach().topk(min(k, chosen.shape[-1]), dim=-1).indices
    outside: Outside = "tail" if tail else "drop" if stop_gradient else "renormalise"
    log_s, log_t = (restrict(log_softmax(logits), ids, outside) for logits in (student_logits, teacher_logits))
    if stop_gradient:
        return kl_terms(log_s, log_t.detach(), log_s.detach()).sum(-1)
    return divergence_of(log_s, log_t, beta)


def token_set_divergence(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    token_ids: torch.Tensor,
    beta: Beta = 1.0,
    variant: Variant = "released",
) -> torch.Tensor:
    """Divergence on one fixed set of tokens, [N, V] x [N, V] -> [N] (SafeSteer, arXiv 2606.02530).

    Args:
        student_logits: [N, V].
        teacher_logits: [N, V].
        token_ids: the set, [K].
        beta: 1 reverse (student||teacher) as released, 0 forward (teacher||student), between them generalised JSD;
            `symmetric`.
        variant: `released` sums p_S log(p_S / p_T) of full-vocabulary probabilities over the set, as SafeSteer's code
            does: not a KL divergence, as it may be negative and is least at p_S = p_T / e. The others are least, and 0,
            where both agree on the set: `tail` adds one bucket of all other tokens; `generalised` is the KL divergence
            of measures that need not sum to 1, p_S log(p_S / p_T) - p_S + p_T; `renormalised` compares the
            distributions within the set (by a comment in SafeSteer's code it over-refuses).
    """
    ids = token_ids.expand(*student_logits.shape[:-1], -1)
    log_s, log_t = (restrict(log_softmax(logits), ids, OUTSIDE[variant]) for logits in (student_logits, teacher_logits))
    values = divergence_of(log_s, log_t, beta)
    if variant == "generalised" and beta in (0, 1):  # the corrections of both directions cancel
        gap = (log_t.detach().exp() - log_s.exp()).sum(-1)
        values = values + (gap if beta == 1 else -gap)
    return values


def restrict(logprobs: torch.Tensor, ids: torch.Tensor, outside: Outside) -> torch.Tensor:
    """Log-probabilities [N, V] at ids [N, K] -> [N, K], or [N, K + 1] with a tail bucket.

    Args:
        logprobs: of the whole vocabulary.
        ids: the tokens kept, different ones.
        outside: `drop` keeps the probabilities as they are (they sum to less than 1), `renormalise` makes them sum to
            1, `tail` adds one bucket with the probability of all other tokens.
    """
    kept = logprobs.gather(-1, ids)
    if outside == "renormalise":
        return kept - kept.logsumexp(-1, keepdim=True)
    if outside == "tail":
        others = logprobs.scatter(-1, ids, -torch.inf).logsumexp(-1, keepdim=True)
        return torch.cat([kept, others], dim=-1)
    return kept
