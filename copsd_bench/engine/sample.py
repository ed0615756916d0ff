"""Draw the next token of each row from its own random stream."""

import torch

from copsd_bench.engine.distributions import NUCLEUS_GUESS
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
    alike: dict[Sampling, list[int]] = {}
    for b, sampling in enumerate(samplings):
        if sampling.temperature > 0:
            alike.setdefault(sampling, []).append(b)
    for sampling, rows in alike.items():
        uniforms = torch.tensor([[streams[b].next()] for b in rows], dtype=torch.float64)
        some = logits if len(rows) == len(logits) else logits[rows]
        chosen[rows] = _draw(some, sampling, uniforms.to(logits.device))
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


def _draw(logits: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor) -> torch.Tensor:
    """Tokens [R] of rows [R, V] with one setting, by a number in [0, 1) each, [R, 1]."""
    if sampling.top_k is None and sampling.top_p == 1:
        cumulative = _weights(logits, logits.amax(dim=-1, keepdim=True), sampling.temperature).cumsum(dim=-1)
        return _crossed(cumulative, uniforms * cumulative[:, -1:])
    return _draw_from_top(logits, sampling, uniforms, sampling.top_k or NUCLEUS_GUESS)


def _draw_from_top(logits: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor, size: int) -> torch.Tensor:
    """As `_draw` from the `size` most probable tokens; rows whose nucleus is larger are drawn from all of theirs."""
    vocabulary = logits.shape[-1]
    kept, ids = logits.topk(min(size, vocabulary), dim=-1)
    weights = _weights(kept, kept[:, :1], sampling.temperature)
    whole = weights if sampling.top_k is not None else _weights(logits, kept[:, :1], sampling.temperature)
    cumulative = weights.cumsum(dim=-1) / whole.sum(dim=-1, keepdim=True)
    # The smallest set of most probable tokens whose mass reaches top_p, the token that crosses it included.
    last = (cumulative < sampling.top_p).sum(dim=-1, keepdim=True).clamp(max=kept.shape[-1] - 1)
    mass = cumulative.gather(-1, last)
    chosen = ids.gather(-1, _crossed(cumulative, uniforms * mass).unsqueeze(-1)).squeeze(-1)
    if sampling.top_k is None and size < vocabulary:
        wide = (mass < sampling.top_p).squeeze(-1)
        if wide.any():
            chosen[wide] = _draw_from_top(logits[wide], sampling, uniforms[wide], vocabulary)
    return chosen


def _weights(logits: torch.Tensor, greatest: torch.Tensor, temperature: float) -> torch.Tensor:
    """Probabilities up to a factor, the greatest one as 1, in float64."""
    return torch.sub(logits, greatest.double()).div_(temperature).exp_()


def _crossed(cumulative: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Where running sums [R, K] first exceed a number, [R, 1] -> [R]; the last place if rounding leaves none."""
    return torch.searchsorted(cumulative, numbers, right=True).squeeze(-1).clamp(max=cumulative.shape[-1] - 1)
