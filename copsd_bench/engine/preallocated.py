"""A cache that each decoding step writes into, where transformers' own is copied whole for every token."""

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

COLUMNS = 16
"""Room is a multiple of this, so that a layer is copied once in so many steps."""


class PreallocatedLayer(DynamicLayer):
    """Full attention's keys and values [B, G, T, D]: the first T columns of tensors with room for more.

    `update` returns all of the room, as new tensors would cost a copy; the mask must hide what is not written yet.
    Whoever replaces `keys` or `values` leaves that one without spare columns; the other stays what it is until it is
    replaced too.

    Args:
        layer: what it takes over.
    """

    def __init__(self, layer: DynamicLayer) -> None:
        self.__dict__.update({name: value for name, value in vars(layer).items() if name not in ("keys", "values")})
        self.keys, self.values = layer.keys, layer.values

    @property
    def keys(self) -> torch.Tensor:
        """Of the tokens seen."""
        return self._keys[:, :, : self._seen_keys]

    @keys.setter
    def keys(self, keys: torch.Tensor) -> None:
        self._keys, self._seen_keys = keys, keys.shape[2]

    @property
    def values(self) -> torch.Tensor:
        """Of the tokens seen."""
        return self._values[:, :, : self._seen_values]

    @values.setter
    def values(self, values: torch.Tensor) -> None:
        self._values, self._seen_values = values, values.shape[2]

    def room(self, further: int) -> int:
        """Columns once `further` tokens are written."""
        needed = self._seen_keys + further
        return max(self._keys.shape[2], -(-needed // COLUMNS) * COLUMNS)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write tokens [B, G, L, D]; returns keys and values [B, G, room, D]."""
        seen, further = self._seen_keys, key_states.shape[2]
        spare = self.room(further) - self._keys.shape[2]
        if spare:
            self._keys, self._values = _with_spare(self._keys, spare), _with_spare(self._values, spare)
        self._keys[:, :, seen : seen + further] = key_states
        self._values[:, :, seen : seen + further] = value_states
        self._seen_keys = self._seen_values = seen + further
        return self._keys, self._values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what `update` is going to return."""
        return self.room(query_length), 0

    def get_seq_length(self) -> int:
        """Tokens seen."""
        return self._seen_keys


def _with_spare(states: torch.Tensor, spare: int) -> torch.Tensor:
    """[B, G, T, D] -> [B, G, T + spare, D], zeros behind; `pad` would write all of it twice."""
    batch, groups, width, dim = states.shape
    wider = states.new_empty((batch, groups, width + spare, dim))
    wider[:, :, :width] = states
    wider[:, :, width:] = 0
    return wider


def preallocate(cache: DynamicCache) -> None:
    """Make room in every layer; all of them must be `DynamicLayer`s with tokens."""
    cache.layers = [PreallocatedLayer(layer) for layer in cache.layers]


def mask_width(cache: DynamicCache, seen: int) -> int:
    """Columns that the mask of the next token needs, if `seen` ones are to be looked at."""
    layer = cache.layers[0]
    return layer.room(1) if isinstance(layer, PreallocatedLayer) else seen
