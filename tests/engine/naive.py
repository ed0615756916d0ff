"""The specification of the engine: full forward passes of one row, without cache, batch or padding."""

import math
from collections.abc import Sequence
from typing import Any

import torch


@torch.inference_mode()
def logits_after(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> torch.Tensor:
    """Logits that predict each completion token, and the one after, [N + 1, V] in float32 (float64 weights keep it)."""
    ids = torch.tensor([[*prompt, *completion]])
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :]
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def score(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> tuple[list[float], list[bool], list[float]]:
    """Log-probability, is-greedy and entropy of each completion token."""
    if not completion:
        return [], [], []
    logits = logits_after(model, prompt, completion)[: len(completion)]
    distribution = torch.distributions.Categorical(logits=logits)
    target = torch.tensor(list(completion))
    greedy = (logits.argmax(dim=-1) == target).tolist()
    return distribution.log_prob(target).tolist(), greedy, distribution.entropy().tolist()


def greedy(model: Any, prompt: Sequence[int], count: int, eos: frozenset[int]) -> list[int]:
    """Greedy tokens until `count` or the end of the sequence, which is included."""
    ids: list[int] = []
    while len(ids) < count and not (ids and ids[-1] in eos):
        ids.append(int(logits_after(model, prompt, ids)[-1].argmax()))
    return ids


def divergence(p: Sequence[float], q: Sequence[float], nucleus: float) -> tuple[float, float, float, float, float]:
    """KL(P || Q), KL(Q || P), both entropies and Q's mass outside P's nucleus, token by token of the vocabulary."""

    def kl(a: Sequence[float], b: Sequence[float]) -> float:
        return sum(x * (math.log(x) - (math.log(y) if y else -math.inf)) for x, y in zip(a, b, strict=True) if x)

    def entropy(a: Sequence[float]) -> float:
        return -sum(x * math.log(x) for x in a if x)

    inside, held = 0.0, 0.0
    for token in sorted(range(len(p)), key=lambda i: -p[i]):
        if held >= nucleus:
            break
        held += p[token]
        inside += q[token]
    return kl(p, q), kl(q, p), entropy(p), entropy(q), 1 - inside
