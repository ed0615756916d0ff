"""Log-probabilities of given completions: the shared prompt once, only completion positions through the LM head."""

from collections.abc import Sequence

import torch

from copsd_bench.engine.distributions import entropy as entropy_of
from copsd_bench.engine.head import Head
from copsd_bench.engine.protocol import Prompt, TokenScores
from copsd_bench.engine.states import batches, completion_states

HEAD_TOKENS = 512
"""Most positions whose logits [HEAD_TOKENS, V] are held at once."""


@torch.inference_mode()
def score_rows(
    head: Head,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    entropy: bool = False,
    shared: bool = True,
) -> list[TokenScores]:
    """Score completions after their prompts; rows with the same prompt share its KV cache.

    Args:
        head: the model, under the wanted view.
        prompts: one a row; rows that share a prompt share its computation.
        completions: token ids of each row; an empty completion has empty scores.
        entropy: also give the entropy of the distribution at each position.
        shared: see `completion_states`.

    Returns:
        Scores in the order of the rows.
    """
    results = [TokenScores((), (), ()) for _ in completions]
    for rows in batches(completions, (head, prompts)):
        states = completion_states(head, [prompts[i] for i in rows], [completions[i] for i in rows], shared)
        for i, hidden in zip(rows, states, strict=True):
            results[i] = _scores(hidden, torch.tensor(list(completions[i]), device=hidden.device), head, entropy)
    return results


def _scores(states: torch.Tensor, ids: torch.Tensor, head: Head, entropy: bool) -> TokenScores:
    logprobs: list[float] = []
    greedy: list[bool] = []
    entropies: list[float] = []
    for at in range(0, len(ids), HEAD_TOKENS):
        chunk, target = states[at : at + HEAD_TOKENS], ids[at : at + HEAD_TOKENS]
        logits = head.logits(chunk)
        scores = logits.log_softmax(dim=-1)
        logprobs += scores.gather(1, target.unsqueeze(1)).squeeze(1).tolist()
        greedy += (logits.argmax(dim=-1) == target).tolist()
        if entropy:
            entropies += entropy_of(scores).tolist()
    return TokenScores(tuple(logprobs), tuple(greedy), tuple(entropies))
