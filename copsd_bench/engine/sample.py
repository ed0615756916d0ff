"""Draw the next token of each row from its own random stream."""

import torch

from copsd_bench.engine.protocol import Sampling


class RowStream:
    """Uniform numbers of one row: the n-th number depends on the row's seed and n, on nothing else."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed % (1 << 63))

    def next(self) -> float:
        """The next number in [0, 1)."""
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))


def choose(logits: torch.Tensor, samplings: list[Sampling], streams: list[RowStream]) -> torch.Tensor:
    """Next token of each row: argmax at temperature 0, else inverse-CDF sampling with the row's next number.

    Args:
        logits: [B, V] in float32.
        samplings: how each row samples.
        streams: the random stream of each row; greedy rows draw nothing.

    Returns:
        Token ids, [B].
    """
    chosen = most_likely(logits)
    for b, sampling in enumerate(samplings):
        if sampling.temperature > 0:
            chosen[b] = _draw(logits[b], sampling, streams[b].next())
    return chosen


def most_likely(logits: torch.Tensor, block: int = 256) -> torch.Tensor:
    """As `logits.argmax(-1)`, [B, V] -> [B].

    On a CPU PyTorch's own compares one number after the other, but finds the greatest value (not its place) of a block
    with vector instructions.
    """
    if short := -logits.shape[-1] % block:
        logits = torch.nn.functional.pad(logits, (0, short), value=-torch.inf)
    blocks = logits.unflatten(-1, (-1, block))
    best = blocks.amax(dim=-1).argmax(dim=-1, keepdim=True)
    within = blocks.take_along_dim(best.unsqueeze(-1), dim=1).squeeze(1).argmax(dim=-1)
    return best.squeeze(1) * block + within


def _draw(logits: torch.Tensor, sampling: Sampling, uniform: float) -> torch.Tensor:
    scaled = logits.double() / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scaled.numel():
        kept, ids = scaled.topk(sampling.top_k)
    elif sampling.top_p < 1:
        kept, ids = scaled.sort(descending=True)
    else:
        kept, ids = scaled, None
    probabilities = kept.softmax(dim=-1)
    cumulative = probabilities.cumsum(dim=-1)
    if ids is not None and sampling.top_p < 1:
        # The smallest set of most probable tokens whose mass reaches top_p, the token that crosses it included.
        size = int((cumulative < sampling.top_p).sum().item()) + 1
        cumulative = cumulative[:size]
    index = torch.searchsorted(cumulative, uniform * cumulative[-1], right=True).clamp(max=cumulative.numel() - 1)
    return index if ids is None else ids[index]
