"""Advantages per token from rewards per token or outcomes per row, as pure functions.

Shapes: N rows (all rollouts of all prompts), T tokens. `mask` [N, T] is True at a row's own completion tokens, `groups`
[N] numbers the prompt of each row. Every function gives [N, T], float32 at least, 0 where the mask is False.

`normalise` divides by a standard deviation (with Bessel's correction). That gives the advantages unit variance however
small the rewards are: late in training, when student and teacher nearly agree, it amplifies noise; False only centres.
"""

import torch

EPSILON = 1e-6


def token_group(
    rewards: torch.Tensor, mask: torch.Tensor, groups: torch.Tensor, normalise: bool = True, epsilon: float = EPSILON
) -> torch.Tensor:
    """Each token's reward against all tokens of all rollouts of its prompt; no return-to-go, no discount.

    (r - mean) / (std + epsilon), mean and std pooled over the group's tokens: COPSD's released code (arXiv 2606.03089).
    Adding a constant to the rewards changes nothing.

    Args:
        rewards: [N, T].
        mask: bool [N, T].
        groups: prompt of each row, [N].
        normalise: divide by the standard deviation.
        epsilon: added to the standard deviation.
    """
    return _standardise(rewards, mask, groups.unsqueeze(1).expand_as(mask), normalise, epsilon)


def return_to_go(
    rewards: torch.Tensor,
    mask: torch.Tensor,
    groups: torch.Tensor,
    gamma: float = 1.0,
    min_rows: int = 2,
    normalise: bool = True,
    epsilon: float = EPSILON,
) -> torch.Tensor:
    """Each token's discounted future reward against that of the prompt's other rollouts at the same step.

    R_t = sum_{k >= t} gamma^(k - t) r_k, then (R_t - mean_t) / (std_t + epsilon) over the rollouts of the group:
    COPSD as printed (arXiv 2606.03089, Eq. 22), which states neither gamma nor what happens once rollouts have ended.
    The rule here: step t is compared among the rows that have a token there; where fewer than `min_rows` are left there
    is nothing to compare with, and the advantage is 0. Adding a constant to the rewards changes nothing among rows of
    equal length; otherwise, unlike in `token_group`, it favours the rows that go on longer (or shorter, if negative).

    Args:
        rewards: [N, T].
        mask: bool [N, T]; the tokens of a row are its first ones, without gaps.
        groups: prompt of each row, [N].
        gamma: discount a step; 0 leaves the token's own reward.
        min_rows: rows a step needs.
        normalise: divide by the standard deviation of the step.
        epsilon: added to the standard deviation.
    """
    returns = torch.where(mask, _float(rewards), 0.0)
    for t in range(returns.shape[1] - 2, -1, -1):
        returns[:, t] += gamma * returns[:, t + 1]
    steps = torch.arange(mask.shape[1], device=mask.device)
    prompt = groups.unique(return_inverse=True)[1].unsqueeze(1)
    cells = prompt * mask.shape[1] + steps
    reached = torch.zeros(int(cells.max()) + 1 if cells.numel() else 0, dtype=torch.long, device=mask.device)
    reached.index_add_(0, cells[mask], torch.ones_like(cells[mask]))
    return _standardise(returns, mask & (reached[cells] >= min_rows), cells, normalise, epsilon)


def outcome(
    outcomes: torch.Tensor, mask: torch.Tensor, groups: torch.Tensor, normalise: bool = True, epsilon: float = EPSILON
) -> torch.Tensor:
    """Each row's outcome against that of the prompt's other rollouts, the same at each token (GRPO, arXiv 2402.03300).

    Args:
        outcomes: [N]; nan is an unscored row: it leaves the group (its advantage is 0, and the others' mean and
            standard deviation are taken without it), it is not an outcome of 0.
        mask: bool [N, T].
        groups: prompt of each row, [N].
        normalise: divide by the group's standard deviation (Dr. GRPO, arXiv 2503.20783, does not).
        epsilon: added to the standard deviation.
    """
    row = _standardise(outcomes, ~outcomes.isnan(), groups, normalise, epsilon)
    return torch.where(mask, row.unsqueeze(1), 0.0)


def hybrid(
    outcomes: torch.Tensor,
    rewards: torch.Tensor,
    mask: torch.Tensor,
    groups: torch.Tensor,
    lam: float = 0.3,
    normalise: bool = True,
) -> torch.Tensor:
    """The outcome gives the sign, the token signal shifts weight among the tokens.

    A = R (1 + lam sign(R) r), R the advantage of `outcome`, r that of `token_group`: COPSD, arXiv 2606.03089, Eq. 23
    (which does not say how r is normalised). Unscored rows have advantage 0.

    Args:
        outcomes: [N], nan where unscored.
        rewards: [N, T].
        mask: bool [N, T].
        groups: prompt of each row, [N].
        lam: weight of the token signal.
        normalise: divide both by their standard deviations.
    """
    whole = outcome(outcomes, mask, groups, normalise)
    return whole * (1 + lam * whole.sign() * token_group(rewards, mask, groups, normalise))


def self_distilled(
    outcomes: torch.Tensor,
    deltas: torch.Tensor,
    mask: torch.Tensor,
    groups: torch.Tensor,
    epsilon: float,
    normalise: bool = True,
) -> torch.Tensor:
    """Outcome advantages, weighted at each token by how much the teacher agrees (self-distilled RLVR).

    A clip(exp(sign(A) delta), 1 - epsilon, 1 + epsilon), A the advantage of `outcome`: COPSD's pilot study (arXiv
    2606.03089, section 3), which does not state epsilon.

    Args:
        outcomes: [N], nan where unscored.
        deltas: log p_T - log p_S of the sampled tokens, [N, T], unclipped.
        mask: bool [N, T].
        groups: prompt of each row, [N].
        epsilon: weights stay in [1 - epsilon, 1 + epsilon].
        normalise: divide by the group's standard deviation.
    """
    whole = outcome(outcomes, mask, groups, normalise)
    weight = (whole.sign() * torch.where(mask, _float(deltas), 0.0)).exp()
    return whole * weight.clamp(1 - epsilon, 1 + epsilon)


def _standardise(
    values: torch.Tensor, mask: torch.Tensor, groups: torch.Tensor, normalise: bool, epsilon: float
) -> torch.Tensor:
    """Values minus the mean of their group, over its standard deviation; all of one shape, 0 outside the mask.

    A group of one, or of equal values, has nothing to tell apart: 0. Sums are in float64, as a mean that is off by one
    bit, over a deviation that is no more, would push all of a group the same way.
    """
    group = groups.unique(return_inverse=True)[1]
    size = int(group.max()) + 1 if group.numel() else 0
    kept = torch.where(mask, values.double(), 0.0)
    count = _sums(mask.to(kept.dtype), group, size)
    mean = _sums(kept, group, size) / count.clamp(min=1)
    centred = torch.where(mask, kept - mean[group], 0.0)
    if normalise:
        std = (_sums(centred.square(), group, size) / (count - 1).clamp(min=1)).sqrt()
        centred = centred / (std + epsilon)[group]
    return centred.to(_float(values).dtype)


def _sums(values: torch.Tensor, group: torch.Tensor, size: int) -> torch.Tensor:
    return values.new_zeros(size).index_add_(0, group.reshape(-1), values.reshape(-1))


def _float(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
