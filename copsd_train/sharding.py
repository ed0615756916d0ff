"""Fully sharded training (FSDP2): the trained copy's weights, gradients and optimiser state are split over processes.

Rollouts and scores come from an unsharded copy beside it, which takes over the new weights after each update.
"""

import copy
from typing import Any

import torch

from copsd_bench.engine.views import decoder_layers


def sharded_copy(model: torch.nn.Module, inner: str) -> Any:
    """A copy of a module, split block by block over all processes; run it through its own `forward` only.

    Args:
        model: the module whose forward holds all computing with gradients, LM head included.
        inner: attribute of `model` that holds the transformer, by name.
    """
    from torch.distributed.fsdp import fully_shard

    copied = copy.deepcopy(model)
    for layer in decoder_layers(getattr(copied, inner)):
        fully_shard(layer)
    fully_shard(copied)
    return copied


def whole(value: torch.Tensor) -> torch.Tensor:
    """A tensor put together from all processes (all must ask); one that is not sharded is itself."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def like(value: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
    """A whole tensor split as an example is."""
    if not hasattr(example, "full_tensor"):
        return value.to(example.device)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(example, DTensor)
    return distribute_tensor(value.to(example.device), example.device_mesh, example.placements)
