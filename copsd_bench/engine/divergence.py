"""Exact divergences between two ways of looking at the same completions: over the whole vocabulary, at every position.

Rows go through both sides batch by batch, as hidden states. The LM heads are then applied to a few positions at a time
(`Head.positions_at_once`), however large the vocabulary is: memory is bounded over positions and vocabulary together,
and every position still has its whole distribution at hand, which the nucleus (an order over the vocabulary) needs.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from typing import cast

import torch

from copsd_bench.engine.distributions import entropy, kl_divergence, mass_outside_nucleus
from copsd_bench.engine.prefix import Prefixes
from copsd_bench.engine.protocol import Engine, Prompt, View
from copsd_bench.engine.states import batches, completion_states
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.views import using
from copsd_bench.engine.vocabulary import Vocabulary
from copsd_bench.errors import CopsdError


@dataclass(frozen=True)
class Side:
    """One way of looking at completions.

    Attributes:
        engine: holds the weights; both sides may share it.
        view: adapter and intervention.
        prompts: what each completion is scored after, one a completion (with or without a context).
    """

    engine: Engine
    view: View
    prompts: Sequence[Prompt]


@dataclass(frozen=True)
class Divergence:
    """Numbers of one completion by token position, in nats unless said otherwise; all as long as the completion.

    Attributes:
        kl_model_reference: KL(model || reference), the reverse KL of distillation from the reference.
        kl_reference_model: KL(reference || model), the forward KL.
        entropy, reference_entropy: of each side's distribution.
        dropped_mass: the reference's probability (a fraction) outside the model's nucleus.
        logprobs, reference_logprobs: of the given token.
    """

    kl_model_reference: tuple[float, ...]
    kl_reference_model: tuple[float, ...]
    entropy: tuple[float, ...]
    reference_entropy: tuple[float, ...]
    dropped_mass: tuple[float, ...]
    logprobs: tuple[float, ...]
    reference_logprobs: tuple[float, ...]


@torch.inference_mode()
def divergences(
    model: Side, reference: Side, completions: Sequence[Sequence[int]], nucleus: float = 0.9
) -> list[Divergence]:
    """Divergences of two sides at every position of given completions, accumulated in float32 (or float64 weights').

    Args:
        model, reference: how each side looks at the completions.
        completions: token ids, each after its prompt on both sides; an empty completion has empty numbers.
        nucleus: mass of the nucleus that `dropped_mass` is measured against, in (0, 1].

    Returns:
        One Divergence a completion, in their order.

    Raises:
        CopsdError: an engine without white-box access, sides with different vocabularies or ends of sequence, a row
            beyond a context window, or a nucleus out of range.
    """
    if not 0 < nucleus <= 1:
        raise CopsdError(f"A nucleus of {nucleus!r} is not possible; it must be above 0 and at most 1.")
    engines = _white_box(model), _white_box(reference)
    require_one_vocabulary(*engines)
    for engine, side in zip(engines, (model, reference), strict=True):
        engine.check_window(side.prompts, completions)
    results = [Divergence(*([()] * len(fields(Divergence)))) for _ in completions]
    with ExitStack() as turns:
        # In one order whoever asks, so that two callers cannot wait for each other.
        for engine in sorted(set(engines), key=id):
            turns.enter_context(engine.turns)
        sides = [(engine.head, side.prompts) for engine, side in zip(engines, (model, reference), strict=True)]
        shared = [engine.sharing() for engine in engines]
        for rows in batches(completions, *sides):
            parts = [completions[i] for i in rows]
            states = [_states(*of, rows, parts) for of in zip((model, reference), shared, strict=True)]
            for i, numbers in zip(rows, _numbers(model, reference, states, parts, nucleus), strict=True):
                results[i] = numbers
    return results


def require_one_vocabulary(model: TransformersEngine, reference: TransformersEngine) -> None:
    """Two engines whose distributions are over the same tokens, or an error that says what differs.

    Raises:
        CopsdError: another vocabulary size, another token of the same id, or other ends of sequence.
    """
    if model is reference:
        return
    ours, theirs = (
        Vocabulary(side.vocabulary_size, side.tokenizer.get_vocab(), side.eos_ids) for side in (model, reference)
    )
    if different := ours.difference(theirs):
        raise CopsdError(
            f"Model and reference cannot be compared token by token: {different}; choose a reference of the same "
            "model family."
        )


def _white_box(side: Side) -> TransformersEngine:
    if "divergence" not in getattr(side.engine, "capabilities", ()):
        raise CopsdError(
            "Divergences need the whole next-token distribution of model and reference; use local models with the "
            "engine 'transformers'."
        )
    return cast(TransformersEngine, side.engine)


def _states(
    side: Side, prefixes: Prefixes | None, rows: Sequence[int], completions: Sequence[Sequence[int]]
) -> torch.Tensor:
    """States of all completion positions, one row after the other, [N, H]."""
    engine = _white_box(side)
    with using(engine.model, side.view):
        return torch.cat(completion_states(engine.head, [side.prompts[i] for i in rows], completions, prefixes))


def _numbers(
    model: Side,
    reference: Side,
    states: Sequence[torch.Tensor],
    completions: Sequence[Sequence[int]],
    nucleus: float,
) -> list[Divergence]:
    """Divergences of a batch from the states of both sides: logits of a few positions at a time."""
    ids = torch.tensor([token for completion in completions for token in completion])
    step = _white_box(model).head.positions_at_once()
    chunks: list[torch.Tensor] = []
    for ours, theirs, tokens in zip(*(part.split(step) for part in (*states, ids)), strict=True):
        logprobs = _logprobs(model, ours)
        others = _logprobs(reference, theirs).to(logprobs.device)
        chunks.append(torch.stack(position_numbers(logprobs, others, tokens, nucleus)))
    by_row = torch.cat(chunks, dim=1).cpu().split([len(completion) for completion in completions], dim=1)
    return [Divergence(*map(tuple, numbers.tolist())) for numbers in by_row]


def _logprobs(side: Side, states: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [P, V] of states [P, .]; under the view, because an adapter may change the head."""
    engine = _white_box(side)
    with using(engine.model, side.view):
        return engine.head.logits(states).log_softmax(dim=-1)


def position_numbers(
    logprobs: torch.Tensor, reference: torch.Tensor, ids: torch.Tensor, nucleus: float
) -> tuple[torch.Tensor, ...]:
    """The fields of `Divergence`, each [P], from log-probabilities [P, V] of both sides and the given tokens [P]."""
    targets = ids.to(logprobs.device).unsqueeze(-1)
    return (
        kl_divergence(logprobs, reference),
        kl_divergence(reference, logprobs),
        entropy(logprobs),
        entropy(reference),
        mass_outside_nucleus(logprobs, reference, nucleus),
        logprobs.gather(-1, targets).squeeze(-1),
        reference.gather(-1, targets).squeeze(-1),
    )
