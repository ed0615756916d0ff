"""Losses per token, as pure functions of logits and log-probabilities: divergences to a teacher, and policy gradients.

Shapes: B rows, T tokens, V vocabulary, H hidden; N any leading shape, usually (B, T). Everything is in nats, per token
and unreduced; `token_mean` reduces. A divergence is named by `beta`: 0 is forward KL(teacher||student), 1 is reverse
KL(student||teacher), between them lies the generalised JSD; `symmetric` is the mean of the two ends, which no number
between them gives. Half-precision logits are computed with in float32. The
teacher never gets a gradient.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.utils.checkpoint import checkpoint

Head = Callable[[torch.Tensor], torch.Tensor]
Beta = float | Literal["symmetric"]


def divergence(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, beta: Beta, clip: float | None = None
) -> torch.Tensor:
    """Full-vocabulary divergence of student and teacher, [N, V] x [N, V] -> [N].

    Between the ends, beta KL(teacher||m) + (1 - beta) KL(student||m) with m = beta teacher + (1 - beta) student (GKD,
    arXiv 2306.13649, Eq. 1). That vanishes towards both ends; the ends themselves are the full KL divergences, as is
    usual. `symmetric` is KL(teacher||student) / 2 + KL(student||teacher) / 2 (OPSA, arXiv 2605.15239).

    Args:
        student_logits: [N, V].
        teacher_logits: [N, V].
        beta: 0 forward KL(teacher||student), 1 reverse KL(student||teacher), between them generalised JSD; `symmetric`.
        clip: the most that one vocabulary entry may add to a token's sum (OPSD's point-wise clipping, arXiv 2601.18734,
            where 0.05 is usual), None for no limit.

    Raises:
        ValueError: beta outside [0, 1].
    """
    return divergence_of(log_softmax(student_logits), log_softmax(teacher_logits), beta, clip)


def entropy_gate(entropies: torch.Tensor, threshold: float) -> torch.Tensor:
    """Where the teacher is unsure: its entropy [N] in nats is above the threshold; bool [N].

    There EOPD adds alpha times forward KL(teacher||student) to reverse KL(student||teacher): COPSD's pilot study (arXiv
    2606.03089, section 3), which states neither alpha nor the threshold.
    """
    return entropies > threshold


def token_logprobs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Log-probability of given tokens, [N, V] and ids [N] -> [N] in nats."""
    return log_softmax(logits).gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def sampled_reward(
    teacher_logprobs: torch.Tensor,
    student_logprobs: torch.Tensor,
    low: float | None = -3.0,
    high: float | None = 5.0,
) -> torch.Tensor:
    """Reward of each sampled token, log p_T - log p_S clipped to [low, high], [N] x [N] -> [N], a constant.

    Its policy gradient is that of minus the reverse KL(student||teacher). COPSD, arXiv 2606.03089, Algorithm 1 (Eq. 21
    prints the other sign); the clip is the released code's, which also adds 0.02: any centred advantage cancels that.
    None is no limit on that side.
    """
    reward = (teacher_logprobs - student_logprobs).detach()
    return reward if low is None and high is None else reward.clamp(low, high)


def policy_loss(
    logprobs: torch.Tensor, old_logprobs: torch.Tensor, advantages: torch.Tensor, clip: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's clipped surrogate, to be minimised (arXiv 1707.06347, Eq. 7).

    Args:
        logprobs: of the sampled tokens under the policy, [N].
        old_logprobs: under the policy that sampled them, [N].
        advantages: [N].
        clip: the probability ratio counts within [1 - clip, 1 + clip] only.

    Returns:
        Loss [N], and bool [N] where the clip took the gradient away.
    """
    old_logprobs, advantages = old_logprobs.detach(), advantages.detach()
    ratio = (logprobs - old_logprobs).exp()
    loss = -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return loss, torch.where(advantages > 0, ratio > 1 + clip, (ratio < 1 - clip) & (advantages < 0))


def k3(logprobs: torch.Tensor, reference_logprobs: torch.Tensor) -> torch.Tensor:
    """Low-variance, never negative estimate of KL(student||reference) on the student's samples, [N] x [N] -> [N].

    p_ref / p - 1 - log(p_ref / p): Schulman's k3, GRPO's penalty (arXiv 2402.03300, Eq. 4).
    """
    difference = reference_logprobs.detach() - logprobs
    return torch.expm1(difference) - difference


def token_mean(
    values: torch.Tensor, mask: torch.Tensor, normaliser: float | torch.Tensor | None = None
) -> torch.Tensor:
    """Sum of the masked-in values over `normaliser`, a scalar; by default over their number (0 where there are none).

    A mask of numbers weights the values; what has the weight 0 is left out, even where it is not finite.

    Accumulated gradients are exact when every part of a batch is divided by the token count of the whole batch.
    """
    count = mask.sum().clamp(min=1) if normaliser is None else normaliser
    return (torch.where(mask.bool(), values, 0.0) * mask).sum() / count


def chunked(
    loss: Callable[..., torch.Tensor], states: torch.Tensor, head: Head, *rows: torch.Tensor, chunk: int = 128
) -> torch.Tensor:
    """`loss(head(states), *rows)` with the logits of no more than `chunk` positions in memory, in backward too.

    Each position's loss must depend on that position alone; then its gradient can be taken while its logits are there,
    and only d loss / d states, as large as the states, waits for backward. A head that is itself trained needs the
    logits again in backward, and gets them by recomputation.

    Args:
        loss: logits [n, V] and n rows of each of `rows` -> [n].
        states: hidden states [N, H].
        head: states -> logits.
        rows: further arguments, [N, ...]; constants.
        chunk: positions at a time.
    """
    leading = states.shape[:-1]
    flat = states.reshape(-1, states.shape[-1])
    parts = [row.detach().reshape(-1, *row.shape[len(leading) :]) for row in rows]
    cuts = [slice(at, at + chunk) for at in range(0, len(flat), chunk)]
    if not cuts:
        return flat.new_zeros(leading, dtype=torch.float32)

    def value(piece: torch.Tensor, *constants: torch.Tensor) -> torch.Tensor:
        return loss(head(piece), *constants)

    if torch.is_grad_enabled() and head(flat[:1].detach()).requires_grad:

        def again(cut: slice) -> torch.Tensor:
            rest = (part[cut] for part in parts)
            return checkpoint(value, flat[cut], *rest, use_reentrant=False, preserve_rng_state=False)

        return torch.cat([again(cut) for cut in cuts]).reshape(leading)
    return _Chunked.apply(flat, value, parts, cuts).reshape(leading)  # type: ignore[no-untyped-call, no-any-return]


def chunked_divergence(
    student_states: torch.Tensor,
    student_head: Head,
    teacher_states: torch.Tensor,
    teacher_head: Head,
    beta: Beta,
    chunk: int = 128,
    clip: float | None = None,
) -> torch.Tensor:
    """`divergence(student_head(student_states), teacher_head(teacher_states), beta, clip)` in chunks, [N, H] -> [N].

    The gradient reaches the student's states, and its head where that is trained; `chunk` is positions at a time.
    """

    def loss(student_logits: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            teacher_logits = teacher_head(states)
        return divergence(student_logits, teacher_logits, beta, clip)

    return chunked(loss, student_states, student_head, teacher_states, chunk=chunk)


def chunked_logprobs(states: torch.Tensor, head: Head, ids: torch.Tensor, chunk: int = 128) -> torch.Tensor:
    """`token_logprobs(head(states), ids)` in chunks, [N, H] and ids [N] -> [N] in nats."""
    return chunked(token_logprobs, states, head, ids, chunk=chunk)


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [N, V], in float32 at least."""
    return logits.log_softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def divergence_of(log_s: torch.Tensor, log_t: torch.Tensor, beta: Beta, clip: float | None = None) -> torch.Tensor:
    """`divergence` of log-probabilities (or measures), [N, K] x [N, K] -> [N]."""
    log_t = log_t.detach()
    if beta == "symmetric":
        terms = (kl_terms(log_t, log_s) + kl_terms(log_s, log_t)) / 2
    elif not 0 <= beta <= 1:
        raise ValueError(f"beta must be 'symmetric' or lie in [0, 1], not be {beta}")
    elif beta == 0:
        terms = kl_terms(log_t, log_s)
    elif beta == 1:
        terms = kl_terms(log_s, log_t)
    else:
        mixture = torch.lerp(log_s.exp(), log_t.exp(), beta)
        # The floor matters only where both are 0, where the logarithm would have no finite gradient.
        log_m = mixture.clamp(min=torch.finfo(mixture.dtype).tiny).log()
        terms = beta * kl_terms(log_t, log_m) + (1 - beta) * kl_terms(log_s, log_m)
    return (terms if clip is None else terms.clamp(max=clip)).sum(-1)


def kl_terms(log_p: torch.Tensor, log_q: torch.Tensor, inner: torch.Tensor | None = None) -> torch.Tensor:
    """p log(p / q) of each entry, 0 where p is 0; `inner` stands for log p inside the logarithm."""
    p = log_p.exp()
    return p * ((log_p if inner is None else inner) - log_q).masked_fill(p == 0, 0.0)


class _Chunked(torch.autograd.Function):
    """Values of each chunk, and their gradients to the states, in one pass over the chunks."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, states: torch.Tensor, value: Callable[..., torch.Tensor], parts: list[torch.Tensor], cuts: list[slice]
    ) -> torch.Tensor:
        wanted = ctx.needs_input_grad[0]
        gradient = torch.empty_like(states) if wanted else None
        values = []
        for cut in cuts:
            with torch.set_grad_enabled(wanted):
                piece = states[cut].detach().requires_grad_(wanted)
                values.append(value(piece, *(part[cut] for part in parts)))
            if gradient is not None:
                [gradient[cut]] = torch.autograd.grad(values[-1], piece, torch.ones_like(values[-1]))
                values[-1] = values[-1].detach()
        ctx.save_for_backward(gradient)
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, None, None, None]:
        [gradient] = ctx.saved_tensors
        weight = upstream[0].unsqueeze(-1)
        # A position without weight has no gradient, even where its own is not finite (padding).
        return torch.where(weight == 0, 0.0, gradient * weight).to(gradient.dtype), None, None, None
