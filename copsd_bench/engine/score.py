"""Log-probabilities of given completions: the shared prompt once, only completion positions through the LM head."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from copsd_bench.engine.head import Head
from copsd_bench.engine.kv import in_window, new_cache, prefill, whole
from copsd_bench.engine.protocol import Prompt, TokenScores

SCORE_TOKENS = 8192
"""Most completion tokens (padding included) in one forward pass."""
CACHE_TOKENS = 8 * SCORE_TOKENS
"""Most cached positions, all rows together: a long prompt expanded over many short completions must fit in memory."""
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
        shared: compute a shared prompt once (`CacheUse.expands`), else every row in full.

    Returns:
        Scores in the order of the rows.
    """
    results = [TokenScores((), (), ()) for _ in completions]
    todo = [i for i, completion in enumerate(completions) if completion]
    hidden_of = _prefixed if shared else _whole
    for rows in _batches(todo, prompts, completions):
        states, targets = hidden_of(head, [prompts[i] for i in rows], [completions[i] for i in rows])
        for i, hidden, ids in zip(rows, states, targets, strict=True):
            results[i] = _scores(hidden, ids, head, entropy)
    return results


def _batches(todo: list[int], prompts: Sequence[Prompt], completions: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Rows sorted so that equal prompts are neighbours and lengths are alike, cut at SCORE_TOKENS."""
    order = sorted(todo, key=lambda i: (len(prompts[i].ids), prompts[i].ids, len(completions[i])))
    batch: list[int] = []
    for i in order:
        width = max(len(completions[j]) for j in [*batch, i])
        distinct = len({prompts[j].ids for j in [*batch, i]})
        length = len(prompts[i].ids)
        rows = len(batch) + 1
        full = max(rows * width, distinct * length) > SCORE_TOKENS or rows * (length + width) > CACHE_TOKENS
        if batch and full:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _prefixed(
    head: Head, prompts: list[Prompt], completions: list[Sequence[int]]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Prefill each distinct prompt but its last token, expand, and run last token + completion on top."""
    unique = list({_key(prompt): prompt for prompt in prompts}.values())
    index = {_key(prompt): i for i, prompt in enumerate(unique)}
    model = head.model
    device = model.device
    shortened = [Prompt(ids=prompt.ids[:-1], features=prompt.features) for prompt in unique]
    mask = torch.ones((len(prompts), 0), dtype=torch.long, device=device)
    cache = new_cache(model)
    start = torch.zeros((len(prompts), 1), dtype=torch.long, device=device)
    if any(prompt.ids for prompt in shortened):
        prefix, _ = prefill(head, shortened)
        prefix.select(torch.tensor([index[_key(prompt)] for prompt in prompts], device=device))
        mask, cache, start = prefix.mask, prefix.cache, prefix.lengths.unsqueeze(1)
    rows = [[prompt.ids[-1], *completion] for prompt, completion in zip(prompts, completions, strict=True)]
    width = max(len(row) for row in rows) - 1
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    real = torch.zeros((len(rows), width), dtype=torch.long)
    for b, row in enumerate(rows):
        ids[b, : len(row) - 1] = torch.tensor(row[:-1])
        real[b, : len(row) - 1] = 1
    output = head.states(
        input_ids=ids.to(device), attention_mask=torch.cat([mask, real.to(device)], dim=1),
        position_ids=in_window(start + torch.arange(width, device=device), model), past_key_values=cache,
        use_cache=True,
    )  # fmt: skip
    lengths = [len(completion) for completion in completions]
    targets = [torch.tensor(list(completion), device=device) for completion in completions]
    return [output[b, :n] for b, n in enumerate(lengths)], targets


def _whole(
    head: Head, prompts: list[Prompt], completions: list[Sequence[int]]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """One full forward pass a row: the specification of `_prefixed`, and the way for caches that cannot be expanded."""
    states, targets = [], []
    for prompt, completion in zip(prompts, completions, strict=True):
        states.append(whole(head, prompt, completion[:-1])[0, len(prompt.ids) - 1 :])
        targets.append(torch.tensor(list(completion), device=head.model.device))
    return states, targets


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
            entropies += (-(scores.exp() * scores.nan_to_num(neginf=0.0)).sum(dim=-1)).tolist()
    return TokenScores(tuple(logprobs), tuple(greedy), tuple(entropies))


def _key(prompt: Prompt) -> tuple[Any, ...]:
    """Rows share a prompt when ids agree and features are the same object (or there are none)."""
    return (prompt.ids, id(prompt.features) if prompt.features else None)
