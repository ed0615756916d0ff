"""The specification of losses and advantages: the formulas, one number at a time, on Python floats."""

import math
from collections.abc import Sequence

import torch


def softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(z - top) for z in logits]
    return [w / sum(weights) for w in weights]


def divergence(student: Sequence[float], teacher: Sequence[float], beta: float | str, clip: float = math.inf) -> float:
    """Of two probability vectors (GKD, Eq. 1): 0 forward KL(teacher||student), 1 reverse KL(student||teacher)."""

    def kl_term(p: float, q: float) -> float:
        return p * math.log(p / q) if p else 0.0

    def term(s: float, t: float) -> float:
        if isinstance(beta, str):
            return 0.5 * kl_term(t, s) + 0.5 * kl_term(s, t)
        if beta in (0, 1):
            return kl_term(t, s) if beta == 0 else kl_term(s, t)
        m = beta * t + (1 - beta) * s
        return beta * kl_term(t, m) + (1 - beta) * kl_term(s, m)

    return sum(min(term(s, t), clip) for s, t in zip(student, teacher, strict=True))


def generalised(student: Sequence[float], teacher: Sequence[float], beta: float | str) -> float:
    """As `divergence`, of measures that need not sum to 1: each KL term p log(p / q) - p + q."""

    def kl(p: Sequence[float], q: Sequence[float]) -> float:
        return sum((a * math.log(a / b) if a else 0.0) - a + b for a, b in zip(p, q, strict=True))

    if isinstance(beta, str):
        return 0.5 * kl(teacher, student) + 0.5 * kl(student, teacher)
    if beta in (0, 1):
        return kl(teacher, student) if beta == 0 else kl(student, teacher)
    middle = [beta * t + (1 - beta) * s for s, t in zip(student, teacher, strict=True)]
    return beta * kl(teacher, middle) + (1 - beta) * kl(student, middle)


def restrict(probabilities: Sequence[float], ids: Sequence[int], outside: str) -> list[float]:
    """The kept entries, as they are, renormalised, or with a bucket of all others."""
    kept = [probabilities[i] for i in ids]
    if outside == "renormalise":
        return [p / sum(kept) for p in kept]
    return [*kept, sum(p for i, p in enumerate(probabilities) if i not in ids)] if outside == "tail" else kept


def rows(function: object, *tensors: torch.Tensor) -> torch.Tensor:
    """`function` on the last dimension of tensors, one position at a time."""
    leading = tensors[0].shape[:-1]
    flat = [tensor.detach().reshape(-1, tensor.shape[-1]).tolist() for tensor in tensors]
    values = [function(*position) for position in zip(*flat, strict=True)]  # type: ignore[operator]
    return torch.tensor(values, dtype=tensors[0].dtype).reshape(leading)


def standardise(values: Sequence[float], normalise: bool, epsilon: float) -> list[float]:
    """Minus the mean, over the sample standard deviation; one value alone gives 0."""
    mean = sum(values) / len(values)
    if not normalise:
        return [v - mean for v in values]
    std = math.sqrt(sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1))
    return [(v - mean) / (std + epsilon) for v in values]


def token_group(
    rewards: list[list[float]], lengths: list[int], groups: list[int], normalise: bool = True, epsilon: float = 1e-6
) -> list[list[float]]:
    """All tokens of a group in one pool."""
    result = [[0.0] * len(row) for row in rewards]
    for group in set(groups):
        places = [(i, t) for i, g in enumerate(groups) if g == group for t in range(lengths[i])]
        values = standardise([rewards[i][t] for i, t in places], normalise, epsilon)
        for (i, t), value in zip(places, values, strict=True):
            result[i][t] = value
    return result


def return_to_go(
    rewards: list[list[float]],
    lengths: list[int],
    groups: list[int],
    gamma: float,
    min_rows: int,
    normalise: bool = True,
    epsilon: float = 1e-6,
) -> list[list[float]]:
    """One step at a time, among the rows of a group that reach it."""
    result = [[0.0] * len(row) for row in rewards]
    for group in set(groups):
        for t in range(len(rewards[0])):
            present = [i for i, g in enumerate(groups) if g == group and lengths[i] > t]
            if len(present) < min_rows:
                continue
            returns = [sum(gamma ** (k - t) * rewards[i][k] for k in range(t, lengths[i])) for i in present]
            for i, value in zip(present, standardise(returns, normalise, epsilon), strict=True):
                result[i][t] = value
    return result


def outcome(outcomes: list[float], groups: list[int], normalise: bool = True, epsilon: float = 1e-6) -> list[float]:
    """One number a row; rows without an outcome (nan) leave their group."""
    result = [0.0] * len(outcomes)
    for group in set(groups):
        scored = [i for i, g in enumerate(groups) if g == group and not math.isnan(outcomes[i])]
        if scored:
            values = standardise([outcomes[i] for i in scored], normalise, epsilon)
            for i, value in zip(scored, values, strict=True):
                result[i] = value
    return result
