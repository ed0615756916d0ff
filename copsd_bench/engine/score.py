"""Log-probabilities of given completions: the shared prompt once, only completion positions through the LM head."""

from collections.abc import Callable, Sequence

import torch

from copsd_bench.engine.distributions import entropy as entropy_of
from copsd_bench.engine.head import Head
from copsd_bench.engine.prefix import Prefixes
from copsd_bench.engine.protocol import Prompt, TokenScores
from copsd_bench.engine.states import batches, completion_states


@torch.inference_mode()
def score_rows(
    head: Head,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    prefixes: Prefixes | None,
    entropy: bool = False,
    on_complete: Callable[[int, TokenScores], None] | None = None,
) -> list[TokenScores]:
    """Score completions after their prompts; rows with the same prompt share its KV cache.

    Args:
        head: the model, under the wanted view.
        prompts: one a row; rows that share a prompt share its computation.
        completions: token ids of each row; an empty completion has empty scores.
        prefixes: see `completion_states`.
        entropy: also give the entropy of the distribution at each position.
        on_complete: called with a row's index and scores as soon as they are known.

    Returns:
        Scores in the order of the rows.
    """
    results = [TokenScores((), (), ()) for _ in completions]
    tell = on_complete or (lambda i, scores: None)
    for i, completion in enumerate(completions):
        if not completion:
            tell(i, results[i])
    for rows in batches(completions, (head, prompts)):
        parts = [completions[i] for i in rows]
        states = completion_states(head, [prompts[i] for i in rows], parts, prefixes)
        tokens = [token for part in parts for token in part]
        logprobs, greedy, entropies = _positions(head, torch.cat(states), tokens, entropy)
        at = 0
        for i, part in zip(rows, parts, strict=True):
            own = slice(at, at + len(part))
            results[i] = TokenScores(tuple(logprobs[own]), tuple(greedy[own]), tuple(entropies[own]))
            at = own.stop
            tell(i, results[i])
    return results


def _positions(
    head: Head, states: torch.Tensor, ids: Sequence[int], entropy: bool
) -> tuple[list[float], list[bool], list[float]]:
    """Log-probability of the token, whether it is the most probable one, and entropy (if wanted), of each position."""
    logprobs: list[float] = []
    greedy: list[bool] = []
    entropies: list[float] = []
    step = head.positions_at_once()
    for chunk, target in zip(states.split(step), torch.tensor(ids, device=states.device).split(step), strict=True):
        logits = head.logits(chunk)
        scores = logits.log_softmax(dim=-1)
        logprobs += scores.gather(1, target.unsqueeze(1)).squeeze(1).tolist()
        greedy += (logits.argmax(dim=-1) == target).tolist()
        if entropy:
            entropies += entropy_of(scores).tolist()
    return logprobs, greedy, entropies
