"""The refusal direction of a model: where harmful and harmless prompts part, and adding it makes the model refuse.

SafeSteer (arXiv 2606.02530, released code) after Arditi et al. (arXiv 2406.11717). A candidate is the difference of the
mean residual streams of harmful and harmless prompts, not normalised, at one post-instruction token (those that the
chat template puts after the user's message) and at the input of one decoder block. Three scores on other prompts choose
among the candidates; the refusal score they rest on looks at the first token of the answer alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from copsd_bench.collapse.directions import difference_of_means
from copsd_bench.engine.distributions import kl_divergence
from copsd_bench.engine.prefix import agreeing, shared_beginning
from copsd_bench.engine.protocol import Intervention, Prompt, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.steering_recipe import Scores, Steering

EPSILON = 1e-8
"""Added to both probabilities of the refusal score (released code)."""
Place = tuple[int, int]
"""Position of a token from the end of the prompt (-1 is the last), and decoder block."""


def refusal_ids(engine: TransformersEngine, openings: Sequence[str]) -> list[int]:
    """The first token of each opening, each once."""
    return list(dict.fromkeys(engine.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in openings))


def refusal_scores(logprobs: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
    """log P(R) - log(1 - P(R)), where R are the refusal tokens: log-probabilities [N, V] in nats -> [N], float64."""
    refused = logprobs[:, list(ids)].double().exp().sum(-1)
    return (refused + EPSILON).log() - (1 - refused + EPSILON).log()


def first_token_logprobs(engine: TransformersEngine, view: View, prompts: Sequence[Prompt]) -> torch.Tensor:
    """Log-probabilities of the first answer token under a view, [N, V] in nats.

    What all prompts begin with is computed once: the rest of each is a completion of it.
    """
    shared = len(shared_beginning([prompt.ids for prompt in prompts]))
    begin = [Prompt(prompt.ids[: shared or None]) for prompt in prompts]
    rest = [(*prompt.ids[len(part.ids) :], 0) for prompt, part in zip(prompts, begin, strict=True)]
    states = engine.states(view, begin, rest)
    with torch.inference_mode():
        return engine.head.logits(torch.stack([row[-1] for row in states])).log_softmax(-1)


def post_instruction_tokens(engine: TransformersEngine) -> int:
    """How many tokens the chat template puts after the user's message; at least the last one counts."""
    yes, no = (engine.encode([{"role": "user", "content": word}]).ids[::-1] for word in ("yes", "no"))
    return max(1, agreeing(yes, no))


def candidates(
    engine: TransformersEngine, view: View, harmful: Sequence[Prompt], harmless: Sequence[Prompt], config: Steering
) -> dict[Place, torch.Tensor]:
    """Differences of means [H] by place, float32, accumulated in float64; the topmost blocks are left out.

    Args:
        engine, view: the model.
        harmful, harmless: prompts of each side.
        config: `depth`, `layer_step` and `positions` say which places are candidates.
    """
    positions = min(post_instruction_tokens(engine), config.positions or engine.max_length)
    layers = range(0, int(config.depth * engine.depth), config.layer_step)
    sides = [_ends(engine, view, prompts, positions, layers) for prompts in (harmful, harmless)]
    found = {}
    for place in range(positions):
        vectors = difference_of_means(*(side[:, place].astype(np.float64) for side in sides)).vector
        for vector, layer in zip(vectors, layers, strict=True):
            if vector.any():  # at the first block the stream is the token's embedding, whatever the prompt
                found[place - positions, layer] = torch.from_numpy(vector).float()
    return found


def _ends(
    engine: TransformersEngine, view: View, prompts: Sequence[Prompt], positions: int, layers: Sequence[int]
) -> Any:
    """Residual streams at the last tokens of each prompt, [N, P, L, H]; prompt by prompt, to hold the ends alone."""
    found = (engine.activations(view, [prompt], layers)[0][:, -positions:] for prompt in prompts)
    return np.stack([states.transpose(0, 1).float().cpu().numpy() for states in found])


def scored(
    engine: TransformersEngine,
    view: View,
    vectors: Mapping[Place, torch.Tensor],
    harmful: Sequence[Prompt],
    harmless: Sequence[Prompt],
    config: Steering,
) -> Iterator[Scores]:
    """The scores of each candidate, in their order.

    Args:
        engine, view: the model.
        vectors: the candidates.
        harmful, harmless: validation prompts.
        config: `openings` of refusals and `scale` of the addition.
    """
    ids = refusal_ids(engine, config.openings)
    base = first_token_logprobs(engine, view, harmless)
    for (position, layer), vector in vectors.items():
        without = replace(view, intervention=Intervention("ablate", None, vector))
        ablated = first_token_logprobs(engine, without, [*harmful, *harmless])
        added = first_token_logprobs(engine, steered(view, layer, vector, config), harmless)
        yield Scores(
            position=position,
            layer=layer,
            bypass=float(refusal_scores(ablated[: len(harmful)], ids).mean()),
            induce=float(refusal_scores(added, ids).mean()),
            kl=float(kl_divergence(base, ablated[len(harmful) :]).mean()),
        )


def steered(view: View, layer: int, vector: torch.Tensor, config: Steering) -> View:
    """The view with a direction added at the input of one block, at every position."""
    return replace(view, intervention=Intervention("add", layer, vector, config.scale))


def chosen(scores: Sequence[Scores], config: Steering) -> Scores:
    """The candidate with the lowest bypass score of those that pass the thresholds.

    Raises:
        CopsdError: none passes; the one that comes nearest, and what it fails.
    """
    if passing := [s for s in scores if not s.faults(config) and s.bypass == s.bypass]:
        return min(passing, key=lambda s: s.bypass)
    finite = [s for s in scores if np.isfinite([s.bypass, s.induce, s.kl]).all()]
    if not finite:
        raise CopsdError(f"No layer passes: the scores of all {len(scores)} directions are not finite.", ExitCode.RUN)
    best = min(finite, key=lambda s: (len(s.faults(config)), sum(s.faults(config).values())))
    values = {
        "induce": f"induce {best.induce:.2f}, below {config.min_induce:g}",
        "KL": f"KL {best.kl:.3f}, above {config.max_kl:g}",
    }
    failed = " and by ".join(values[name] for name in best.faults(config))
    raise CopsdError(
        f"No layer passes the thresholds of a refusal direction: of {len(scores)} candidates the nearest, layer "
        f"{best.layer} at position {best.position}, fails by {failed}; use a model that refuses harmful requests by "
        "itself, or fine-tune it to.",
        ExitCode.RUN,
    )
