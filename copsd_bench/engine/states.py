"""States at completion positions, before the LM head: a prompt shared by several completions is computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from copsd_bench.engine.head import Head
from copsd_bench.engine.kv import in_window, new_cache, prefill, whole
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
    order = sorted(todo, key=lambda i: (*((len(p[i].ids), p[i].key) for _, p in sides), len(completions[i])))
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
    distinct = len({prompts[i].key for i in rows})
    return max(len(rows) * width, distinct * length) <= most and len(rows) * (length + width) <= CACHE_TOKENS


def _prefixed(head: Head, prompts: Sequence[Prompt], completions: Rows) -> list[torch.Tensor]:
    """Prefill each distinct prompt but its last token, expand, and run last token + completion on top."""
    unique = list({prompt.key: prompt for prompt in prompts}.values())
    index = {prompt.key: i for i, prompt in enumerate(unique)}
    model = head.model
    device = model.device
    shortened = [replace(prompt, ids=prompt.ids[:-1]) for prompt in unique]
    prefix = prefill(head, shortened)[0] if any(prompt.ids for prompt in shortened) else None
    states: dict[int, torch.Tensor] = {}
    for group in _alike([len(completion) for completion in completions]):
        mask = torch.ones((len(group), 0), dtype=torch.long, device=device)
        cache = new_cache(model)
        start = torch.zeros((len(group), 1), dtype=torch.long, device=device)
        if prefix is not None:
            own = prefix.twin()
            own.select(torch.tensor([index[prompts[i].key] for i in group], device=device))
            mask, cache, start = own.mask, own.cache, own.after.unsqueeze(1)
        rows = [[prompts[i].ids[-1], *completions[i]] for i in group]
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
        states |= {i: output[b, : len(completions[i])] for b, i in enumerate(group)}
    return [states[i] for i in range(len(prompts))]


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in groups of like lengths (up to 1, 2, 4, 8 ... tokens), or all together where that pads little."""
    if max(lengths) * len(lengths) <= 1.5 * sum(lengths):
        return [list(range(len(lengths)))]
    groups: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        groups.setdefault((length - 1).bit_length(), []).append(i)
    return list(groups.values())
