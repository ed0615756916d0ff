"""States at completion positions, before the LM head: a prompt shared by several completions is computed once."""

from collections.abc import Iterator, Sequence

import torch

from copsd_bench.engine.head import Head
from copsd_bench.engine.kv import in_window, new_cache, prefill, prompt_key, whole
from copsd_bench.engine.protocol import Prompt

STATE_TOKENS = 8192
"""Most completion tokens (padding included) in one forward pass."""
CACHE_TOKENS = 8 * STATE_TOKENS
"""Most cached positions, all rows together: a long prompt expanded over many short completions must fit in memory."""
LOGIT_TOKENS = 512
"""As STATE_TOKENS, of a model whose head cannot be held back: its "states" are logits [.., V]."""

Rows = Sequence[Sequence[int]]


def batches(completions: Rows, *sides: tuple[Head, Sequence[Prompt]]) -> Iterator[list[int]]:
    """Rows with a completion, in batches that fit one forward pass on every side; equal prompts are neighbours.

    Args:
        completions: token ids of each row; empty ones are in no batch.
        sides: each way to look at the rows: the model, and the prompt of each row.
    """
    todo = [i for i, completion in enumerate(completions) if completion]
    order = sorted(todo, key=lambda i: (*((len(p[i].ids), p[i].ids) for _, p in sides), len(completions[i])))
    batch: list[int] = []
    for i in order:
        if batch and not all(_fits([*batch, i], head, prompts, completions) for head, prompts in sides):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def completion_states(
    head: Head, prompts: Sequence[Prompt], completions: Rows, shared: bool = True
) -> list[torch.Tensor]:
    """States that predict each completion token, under the view the model is in.

    Args:
        head: the model.
        prompts: one a row; rows that share a prompt share its computation.
        completions: token ids of each row, at least one.
        shared: compute a shared prompt once (`CacheUse.expands`), else every row in full, the specification.

    Returns:
        One tensor [completion, H] a row, or [completion, V] where the head is not separate (see `Head`).
    """
    if shared:
        return _prefixed(head, prompts, completions)
    return [
        whole(head, prompt, completion[:-1])[0, len(prompt.ids) - 1 :]
        for prompt, completion in zip(prompts, completions, strict=True)
    ]


def _fits(rows: list[int], head: Head, prompts: Sequence[Prompt], completions: Rows) -> bool:
    most = STATE_TOKENS if head.separate else min(STATE_TOKENS, LOGIT_TOKENS)
    width = max(len(completions[i]) for i in rows)
    length = max(len(prompts[i].ids) for i in rows)
    distinct = len({prompts[i].ids for i in rows})
    return max(len(rows) * width, distinct * length) <= most and len(rows) * (length + width) <= CACHE_TOKENS


def _prefixed(head: Head, prompts: Sequence[Prompt], completions: Rows) -> list[torch.Tensor]:
    """Prefill each distinct prompt but its last token, expand, and run last token + completion on top."""
    unique = list({prompt_key(prompt): prompt for prompt in prompts}.values())
    index = {prompt_key(prompt): i for i, prompt in enumerate(unique)}
    model = head.model
    device = model.device
    shortened = [Prompt(ids=prompt.ids[:-1], features=prompt.features) for prompt in unique]
    mask = torch.ones((len(prompts), 0), dtype=torch.long, device=device)
    cache = new_cache(model)
    start = torch.zeros((len(prompts), 1), dtype=torch.long, device=device)
    if any(prompt.ids for prompt in shortened):
        prefix, _ = prefill(head, shortened)
        prefix.select(torch.tensor([index[prompt_key(prompt)] for prompt in prompts], device=device))
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
    return [output[b, : len(completion)] for b, completion in enumerate(completions)]
