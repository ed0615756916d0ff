"""Residual streams of model and reference on one sample's rollouts, for the directions of `leakage`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from copsd_bench.benchmarks.collapse.rollouts import RolloutPair
from copsd_bench.collapse.directions import States

if TYPE_CHECKING:
    import torch

    from copsd_bench.engine.divergence import Side
    from copsd_bench.engine.transformers_engine import TransformersEngine

MOST_LAYERS = 12


def read_layers(depth: int) -> list[int]:
    """Blocks to read, evenly spaced from the second to the last: the first one's input is the token alone.

    Args:
        depth: number of decoder blocks; one alone has nothing to read.
    """
    import numpy as np

    return sorted({int(layer) for layer in np.linspace(1, depth - 1, MOST_LAYERS).round()}) if depth > 1 else []


def sample_states(pair: RolloutPair, model: "Side", reference: "Side") -> States | None:
    """The states of one prompt, both sides' on the reference's longest and shortest answers.

    Args:
        pair: the sample's rollouts.
        model, reference: each with the sample's prompt as its first, on engines with white-box access.

    Returns:
        None where the models differ in depth or width, or the reference's answers are empty.
    """
    # Without the last token: an end of sequence at the same place in one of two answers would be all their difference.
    answers = sorted((ids[:-1] for answer in pair.reference if len(ids := answer.ids or []) > 1), key=len)
    engines = [cast("TransformersEngine", side.engine) for side in (model, reference)]
    layers = read_layers(engines[0].depth)
    if not answers or not layers or len({(engine.depth, engine.hidden_size) for engine in engines}) > 1:
        return None
    shortest, longest = answers[0], answers[-1]
    common = len(shortest)
    read = [shortest, longest] if len(longest) > common else [longest]
    (prompt, *theirs), (own_prompt, *ours) = (_read(side, read, common, layers) for side in (reference, model))
    differences = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    return States(
        layers=layers,
        prompt=prompt.numpy(),
        prompt_change=(own_prompt - prompt).numpy(),
        length_change=(theirs[1] - theirs[0]).numpy() if len(read) == 2 else None,
        answer_change=(sum(differences[1:], differences[0]) / len(differences)).numpy(),
    )


def _read(side: "Side", answers: Sequence[Sequence[int]], common: int, layers: Sequence[int]) -> "list[torch.Tensor]":
    """States [L, H] at the last prompt token, then the mean over the first `common` tokens of each answer."""
    prompt = side.prompts[0]
    end = len(prompt.ids)
    rows = [replace(prompt, ids=(*prompt.ids, *answer[:common])) for answer in answers]
    states = [row.float().cpu() for row in side.engine.activations(side.view, rows, layers)]
    return [states[0][:, end - 1], *(row[:, end:].mean(dim=1) for row in states)]
