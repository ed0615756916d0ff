"""The safety tokens of a steered model: those that steering makes likelier at the start of an answer, by vote.

SafeSteer (arXiv 2606.02530, released code): the steered model answers harmless prompts, every position is scored under
the steered and the plain model, and each position votes for the tokens whose log-probability rises most.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from copsd_bench.engine.head import CELLS
from copsd_bench.engine.protocol import Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.corpora.answers import stream
from copsd_train.steering_recipe import Steering


@dataclass(frozen=True)
class SafetyTokens:
    """A set of tokens, one for the whole run and every position.

    Attributes:
        ids: the tokens, the most voted for first.
        votes: of each.
        positions: that voted.
    """

    ids: list[int]
    votes: list[int]
    positions: int


def select_tokens(
    engine: TransformersEngine, plain: View, steered: View, prompts: Sequence[Prompt], config: Steering, seed: int
) -> SafetyTokens:
    """The safety tokens of a steered view.

    An answer that ends before `horizon` tokens votes up to its end (released code: it may not end).

    Args:
        engine: the model.
        plain, steered: its two views.
        prompts: harmless ones, each answered `trajectories` times.
        config: horizon, votes and size of the set.
        seed: of the run.

    Raises:
        CopsdError: no token is left.
    """
    rows = [prompt for prompt in prompts for _ in range(config.trajectories)]
    seeds = [stream(seed, "trajectory", i) for i in range(len(rows))]
    sampling = Sampling(config.horizon - 1, config.temperature, config.top_p)
    trajectories = engine.generate(steered, rows, sampling, seeds)
    # One position more than was sampled: what would come next is scored too.
    ids = [c.ids if c.stop_reason == "stop" else (*c.ids, 0) for c in trajectories]
    states = [engine.states(view, rows, ids) for view in (steered, plain)]
    lengths = [len(row) for row in ids]
    total, positions = torch.zeros(engine.vocabulary_size), 0
    for told, base in _logprobs(engine, states, lengths):
        total += told.exp().sum(0).cpu()
        positions += len(base)
    banned = _never_chosen(engine) | (total / max(positions, 1) < config.min_probability)
    votes = torch.zeros(engine.vocabulary_size, dtype=torch.long)
    for told, base in _logprobs(engine, states, lengths):
        votes += vote((told - base).cpu(), banned, config.voted)
    order = votes.argsort(descending=True, stable=True)[: config.tokens]
    found = order[votes[order] > 0]
    if not len(found):
        raise CopsdError(
            f"No safety token is left: none of {positions} positions of {len(rows)} steered answers votes for a token "
            f"of probability {config.min_probability:g}; lower steering.min_probability, or raise steering.scale.",
            ExitCode.RUN,
        )
    return SafetyTokens(found.tolist(), votes[found].tolist(), positions)


def vote(gaps: torch.Tensor, banned: torch.Tensor, voted: int) -> torch.Tensor:
    """Votes of each token, [V]: each position votes for the `voted` tokens with the largest gaps.

    Args:
        gaps: log p_steered - log p_plain, [N, V].
        banned: tokens that get no vote, bool [V].
        voted: votes of a position.
    """
    top = gaps.masked_fill(banned, -torch.inf).topk(min(voted, gaps.shape[1]), dim=-1).indices
    return torch.bincount(top.flatten(), minlength=gaps.shape[1]).masked_fill(banned, 0)


def valid_positions(logprobs: torch.Tensor, ends: Sequence[int]) -> torch.Tensor:
    """Positions of one answer before the plain model would end it, [T, V] -> bool [T]."""
    return torch.isin(logprobs.argmax(-1), torch.tensor(list(ends), device=logprobs.device)).cumsum(0) == 0


@torch.inference_mode()
def share_moved(
    one: tuple[TransformersEngine, View],
    other: tuple[TransformersEngine, View],
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    tokens: Sequence[int],
) -> float:
    """Share on a set of tokens of the probability that lies elsewhere in one model than in another, in [0, 1].

    The sum of |p_one - p_other| over the set and all positions of the completions, over that of the whole vocabulary; 0
    where the models agree everywhere.
    """
    sides = [(engine.head, engine.states(view, prompts, completions)) for engine, view in (one, other)]
    inside = whole = 0.0
    for row in range(len(completions)):
        ours, theirs = (head.logits(states[row]).softmax(-1).cpu() for head, states in sides)
        moved = (ours - theirs).abs()
        inside += float(moved[:, list(tokens)].sum())
        whole += float(moved.sum())
    return inside / whole if whole else 0.0


@torch.inference_mode()
def _logprobs(
    engine: TransformersEngine, states: Sequence[list[torch.Tensor]], lengths: Sequence[int]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Steered and plain log-probabilities [n, V] at the valid positions of a few answers at a time."""
    many = max(1, CELLS // (engine.vocabulary_size * max(lengths)))
    for at in range(0, len(lengths), many):
        told, base = (engine.head.logits(torch.cat(side[at : at + many])).log_softmax(-1) for side in states)
        valid = torch.cat([valid_positions(row, sorted(engine.eos_ids)) for row in base.split(lengths[at : at + many])])
        yield told[valid], base[valid]


def _never_chosen(engine: TransformersEngine) -> torch.Tensor:
    """Special tokens, marks of a chat template, and entries that pad the vocabulary; bool [V]."""
    words = engine.tokenizer.get_vocab()
    special = {*engine.tokenizer.all_special_ids, *engine.eos_ids, *(i for word, i in words.items() if "<|" in word)}
    known = set(words.values()) - special
    return torch.tensor([i not in known for i in range(engine.vocabulary_size)])
