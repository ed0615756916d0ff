"""Batches over one KV cache: left-padded prefill, rows selected, repeated, trimmed and joined."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, LinearAttentionCacheLayerMixin

from copsd_bench.engine.head import Head
from copsd_bench.engine.inputs import extra_inputs, next_positions
from copsd_bench.engine.preallocated import PreallocatedLayer, mask_width, preallocate
from copsd_bench.engine.protocol import Prompt

PADDING = 64
"""Most tokens of a prefill on a CPU that are padding: for more, another pass over the weights costs less there."""


@dataclass
class KvBatch:
    """Rows that share one cache. Row b has seen `mask[b].sum()` tokens; the rest of its width is left padding.

    Attributes:
        cache: keys and values, batch B, width T.
        mask: 1 where a cached position is real, shape [B, T].
        after: the next position of each row, shape [B].
    """

    cache: DynamicCache
    mask: torch.Tensor
    after: torch.Tensor

    def twin(self) -> "KvBatch":
        """The same rows again, to select from apart; tensors are shared, as selecting makes new ones."""
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        return replace(self, cache=cache)

    def select(self, rows: torch.Tensor) -> None:
        """Keep (or repeat) these rows, in this order, and drop columns that are padding for all of them."""
        for layer in self.cache.layers:
            layer.reorder_cache(rows)  # unlike `batch_select_indices`, every kind of layer has it, recurrent ones too
        self.mask, self.after = self.mask[rows], self.after[rows]
        if joinable(self.cache):
            padding = int((self.mask.shape[1] - self.mask.sum(dim=1).max()).item())
            if padding > 0:
                self.mask = self.mask[:, padding:]
                for layer in self.cache.layers:
                    layer.keys, layer.values = layer.keys[:, :, padding:], layer.values[:, :, padding:]

    def step(self, head: Head, tokens: torch.Tensor) -> torch.Tensor:
        """Feed each row one more token, [B, 1]; returns the states of that position (see `Head`)."""
        # A finished row may be fed beyond the context window until it is dropped.
        position = in_window(self.after.unsqueeze(1), head.model)
        self.after = self.after + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones((len(tokens), 1))], dim=1)
        seen = self.mask.shape[1]
        return head.last_states(
            input_ids=tokens,
            attention_mask=torch.nn.functional.pad(self.mask, (0, mask_width(self.cache, seen) - seen)),
            position_ids=position,
            past_key_values=self.cache,
            use_cache=True,
        )

    def join(self, *others: "KvBatch") -> None:
        """Append the rows of other batches; narrower ones are padded on the left."""
        batches = (self, *others)
        width = max(batch.mask.shape[1] for batch in batches)
        for mine, *theirs in zip(*(batch.cache.layers for batch in batches), strict=True):
            for part in ("keys", "values"):
                states = [_left_pad(getattr(layer, part), width) for layer in (mine, *theirs)]
                setattr(mine, part, torch.cat(states))
        masks = [torch.nn.functional.pad(batch.mask, (width - batch.mask.shape[1], 0)) for batch in batches]
        self.mask = torch.cat(masks)
        self.after = torch.cat([batch.after for batch in batches])


def repeated(batch: KvBatch, rows: torch.Tensor) -> KvBatch:
    """These rows of a batch, in this order, for one forward pass on top of them.

    The rows of full-attention layers are repeated when a layer is computed and dropped after it, so that a long prompt
    under many completions takes the memory of one layer. Such a cache cannot be continued.
    """
    own = batch.twin()
    if joinable(batch.cache):
        own.cache.layers = [_Repeated(layer, rows) for layer in own.cache.layers]
        own.mask, own.after = batch.mask[rows], batch.after[rows]
    else:
        own.select(rows)
    return own


class _Repeated(DynamicLayer):
    """The rows of a layer, put together with new ones and not kept."""

    def __init__(self, layer: DynamicLayer, rows: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values, self.rows = layer.keys, layer.values, rows

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The cached and the new keys and values of all rows."""
        keys, values = self.keys[self.rows], self.values[self.rows]
        return torch.cat([keys, key_states], dim=-2), torch.cat([values, value_states], dim=-2)


def joinable(cache: DynamicCache) -> bool:
    """Whether rows of different widths may be joined: full-attention layers only (no window, no recurrent state)."""
    return all(type(layer) in (DynamicLayer, PreallocatedLayer) for layer in cache.layers)


def expandable(cache: DynamicCache) -> bool:
    """Whether rows may be repeated and left-padded: attention layers only (a recurrent state would see the padding)."""
    return all(
        isinstance(layer, DynamicLayer) and not isinstance(layer, LinearAttentionCacheLayerMixin)
        for layer in cache.layers
    )


@dataclass(frozen=True)
class CacheUse:
    """What the KV cache of a model is good for.

    Attributes:
        batches: rows of different lengths may be left-padded, selected and continued token by token.
        joins: rows of different widths may be joined (see `joinable`).
        expands: a prompt may be computed once for many completions (see `expandable`).
        preallocates: tokens may be written in place (see `PreallocatedLayer`).
    """

    batches: bool
    joins: bool
    expands: bool
    preallocates: bool


@torch.inference_mode()
def cache_use(head: Head) -> CacheUse:
    """Try the cache on two short rows: some models ignore it, keep state elsewhere, or let padding into their state.

    Rather than keep a list of them, the continued rows are compared with full forward passes. Where they differ, every
    token takes a full pass over its row, which is slow and right.
    """
    # Ordinary tokens: the embeddings of a vocabulary's first ones, which are special and mostly untrained, make some
    # fine-tuned models so ill-conditioned that bf16 rounding alone looks like a broken cache.
    first = head.model.config.get_text_config().vocab_size // 10
    *ids, token = range(first, first + 9)
    rows = [Prompt(ids=tuple(ids[:5])), Prompt(ids=tuple(ids[5:]))]
    swapped = [1, 0]
    expected = head.logits(torch.cat([whole(head, rows[b], [token])[:, -1] for b in swapped]))
    spread = (expected - expected.mean(dim=-1, keepdim=True)).norm()
    for in_place in (True, False):
        try:
            batch, _ = prefill(head, rows)
            batch.select(torch.tensor(swapped, device=head.model.device))
            if in_place and not joinable(batch.cache):
                continue
            if in_place:
                preallocate(batch.cache)
            got = head.logits(batch.step(head, torch.full((2, 1), token, device=head.model.device)))
        except Exception:  # a model with a cache of its own kind raises whatever it likes
            continue
        # bf16 rounding stays below 5 % of the logits' spread; a cache that is not used is off by all of it.
        if (got - expected).norm() < 0.2 * spread:
            return CacheUse(True, joinable(batch.cache), expandable(batch.cache), in_place)
    return CacheUse(False, False, False, False)


def whole(head: Head, prompt: Prompt, ids: Sequence[int]) -> torch.Tensor:
    """States [1, T, .] of a prompt and further tokens in one pass without a cache or padding (see `Head`)."""
    tokens = torch.tensor([[*prompt.ids, *ids]], device=head.model.device)
    return head.states(input_ids=tokens, use_cache=False, **extra_inputs([prompt], head.model, [tokens.shape[1]]))


def new_cache(model: Any) -> DynamicCache:
    """An empty cache of the kinds of layers this model has."""
    return DynamicCache(config=model.config)


def prefill(head: Head, prompts: Sequence[Prompt]) -> tuple[KvBatch, torch.Tensor]:
    """Run prompts through the model once.

    Args:
        head: the model, under the wanted view.
        prompts: B prompts, with or without images.

    Returns:
        The batch, its cache as wide as the longest prompt, and the states of the last position (see `Head`).
    """
    model = head.model
    ids, mask = left_padded([prompt.ids for prompt in prompts], model.device)
    cache = new_cache(model)
    placed = {"position_ids": positions(mask)}
    placed |= extra_inputs(prompts, model, [len(prompt.ids) for prompt in prompts], left=True)
    states = head.last_states(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **placed)
    return KvBatch(cache, mask, next_positions(prompts, model).to(model.device)), states


def worth_padding(model: Any) -> float:
    """Most padding tokens that prompts may bring into one prefill: elsewhere than on a CPU passes are what costs."""
    return PADDING if model.device.type == "cpu" else math.inf


def left_padded(rows: Sequence[Sequence[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, both [B, T], padded on the left with id 0 (masked, so its value does not matter)."""
    width = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for b, row in enumerate(rows):
        ids[b, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[b, width - len(row) :] = 1
    return ids.to(device), mask.to(device)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position of each token in its own row, [B, T]; padding gets 0."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


def in_window(positions: torch.Tensor, model: Any) -> torch.Tensor:
    """Positions of padding and finished rows moved into the context window: learned positions end with it."""
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return positions if window is None else positions.clamp(max=window - 1)


def _left_pad(states: torch.Tensor, width: int) -> torch.Tensor:
    """[B, heads, T, dim] -> [B, heads, width, dim], zeros on the left (they are masked)."""
    missing = width - states.shape[2]
    return torch.nn.functional.pad(states, (0, 0, missing, 0)) if missing else states
