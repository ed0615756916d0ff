"""States at completion positions, before the LM head: a prompt shared by several completions is computed once."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from copsd_bench.engine.head import Head
from copsd_bench.engine.kv import in_window, repeated, whole, worth_padding
from copsd_bench.engine.prefix import Prefixes
from copsd_bench.engine.protocol import Prompt

STATE_TOKENS = 2048
"""Most prompt or completion tokens (padding included) in one forward pass; a CPU is slower on more."""
CACHE_TOKENS = 65536
"""Most cached positions, all rows together: a long prompt expanded over many short completions must fit in memory."""
LOGIT_TOKENS = 512
"""As STATE_TOKENS, of a model whose head cannot be held back: its "states" are logits [.., V]."""

Rows = Sequence[Sequence[int]]


def batches(completions: Rows, *sides: tuple[Head, Sequence[Prompt]]) -> Iterator[list[int]]:
    """Rows with a completion, in batches that fit one forward pass on every side; equal prompts are neighbours.

    A batch takes no longer prompt for which the others would have to be padded much.

    Args:
        completions: token ids of each row; empty ones are in no batch.
        sides: each way to look at the rows: the model, and the prompt of each row.
    """
    todo = [i for i, completion in enumerate(completions) if completion]
    order = sorted(todo, key=lambda i: (*((len(p[i].ids), p[i].key) for _, p in sides), len(completions[i])))
    batch: list[int] = []
    for i in order:
        if batch and not all(
            _fits([*batch, i], head, prompts, completions) and not _pads(batch, i, head, prompts)
            for head, prompts in sides
        ):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def completion_states(
    head: Head, prompts: Sequence[Prompt], completions: Rows, prefixes: Prefixes | None
) -> list[torch.Tensor]:
    """States that predict each completion token, under the view the model is in.

    Args:
        head: the model.
        prompts: one a row; rows that share a prompt share its computation.
        completions: token ids of each row, at least one.
        prefixes: computes what prompts share once; one object serves many calls under one view. None: every row in
            full, the specification, and what models need whose cache cannot be repeated (`CacheUse.expands`).

    Returns:
        One tensor [completion, H] a row, or [completion, V] where the head is not separate (see `Head`).
    """
    if prefixes is not None:
        return _after_prompts(head, prompts, completions, prefixes)
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


def _pads(batch: list[int], more: int, head: Head, prompts: Sequence[Prompt]) -> bool:
    """Whether one more row would bring more padding into the prefill than is worth it."""
    lengths = {prompts[i].key: len(prompts[i].ids) for i in [*batch, more]}
    return max(lengths.values()) * len(lengths) - sum(lengths.values()) > worth_padding(head.model)


def _after_prompts(head: Head, prompts: Sequence[Prompt], completions: Rows, prefixes: Prefixes) -> list[torch.Tensor]:
    """Prefill each distinct prompt, whose last state predicts the first token, and run the other tokens on top."""
    unique = list({prompt.key: prompt for prompt in prompts}.values())
    index = {prompt.key: i for i, prompt in enumerate(unique)}
    batch, last = prefixes.prefill(unique, prefixes.length(unique))
    states = [last[index[prompt.key]].unsqueeze(0) for prompt in prompts]
    longer = [i for i, completion in enumerate(completions) if len(completion) > 1]
    for group in _alike({i: len(completions[i]) - 1 for i in longer}):
        own = repeated(batch, torch.tensor([index[prompts[i].key] for i in group], device=last.device))
        ids, real = _right_padded([completions[i][:-1] for i in group], last.device)
        output = head.states(
            input_ids=ids, attention_mask=torch.cat([own.mask, real], dim=1),
            position_ids=in_window(own.after.unsqueeze(1) + torch.arange(ids.shape[1], device=last.device), head.model),
            past_key_values=own.cache, use_cache=True,
        )  # fmt: skip
        for b, i in enumerate(group):
            states[i] = torch.cat([states[i], output[b, : len(completions[i]) - 1]])
    return states


def _right_padded(rows: Rows, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, both [B, T], padded on the right with id 0 (masked)."""
    ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
    real = torch.zeros_like(ids)
    for b, row in enumerate(rows):
        ids[b, : len(row)] = torch.tensor(row)
        real[b, : len(row)] = 1
    return ids.to(device), real.to(device)


def _alike(lengths: Mapping[int, int]) -> list[list[int]]:
    """Rows in groups of like lengths (up to 1, 2, 4, 8 ... tokens), or all together where that pads little."""
    if max(lengths.values(), default=0) * len(lengths) <= 1.5 * sum(lengths.values()):
        return [list(lengths)] if lengths else []
    groups: dict[int, list[int]] = {}
    for i, length in lengths.items():
        groups.setdefault((length - 1).bit_length(), []).append(i)
    return list(groups.values())
