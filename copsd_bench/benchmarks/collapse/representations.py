"""Residual streams of model and reference on one sample's rollouts, for the directions of `leakage`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from copsd_bench.benchmarks.collapse.rollouts import RolloutPair
from copsd_bench.collapse.directions import States

if TYPE_CHECKING:
    import torch

    from copsd_bench.engine.divergence import Side
    from copsd_bench.engine.transformers_engine import TransformersEngine

MOST_LAYERS = 12


def read_layers(model: "TransformersEngine", reference: "TransformersEngine") -> list[int]:
    """Blocks to read, evenly spaced from the second to the last: the first one's input is the token alone.

    Returns:
        At most `MOST_LAYERS` indices; none where the two models differ in depth or width.
    """
    import numpy as np

    if (model.depth, model.hidden_size) != (reference.depth, reference.hidden_size) or model.depth < 2:
        return []
    return sorted({int(layer) for layer in np.linspace(1, model.depth - 1, MOST_LAYERS).round()})


def sample_states(pair: RolloutPair, model: "Side", reference: "Side", layers: Sequence[int]) -> States | None:
    """The states of one prompt, all on the reference's longest and shortest answers.

    Args:
        pair: the sample's rollouts.
        model, reference: each with the sample's prompt as its first.
        layers: see `read_layers`.

    Returns:
        None where there are no layers to read, or the reference gave no tokens.
    """
    answers = sorted((answer.ids for answer in pair.reference if answer.ids), key=len)
    if not answers or not layers:
        return None
    shortest, longest = answers[0], answers[-1]
    common = len(shortest)
    read = [shortest, longest] if len(longest) > common else [longest]
    (prompt, *theirs), (own_prompt, *ours) = (_read(side, read, common, layers) for side in (reference, model))
    differences = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    return States(
        layers=list(layers),
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
