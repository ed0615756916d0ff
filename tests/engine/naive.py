"""The specification of the engine: full forward passes of one row, without cache, batch or padding."""

from collections.abc import Sequence
from typing import Any

import torch


@torch.inference_mode()
def logits_after(model: Any, prompt: Sequence[int], completion: Sequence[int]) -> torch.Tensor:
    """Logits that predict each completion token, and the one after, [N + 1, V] in float32."""
    ids = torch.tensor([[*prompt, *completion]])
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].float()
    return logits


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
