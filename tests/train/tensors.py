"""Tensors that losses are tested on, and how their values and gradients are compared."""

import torch

from copsd_train import losses

BETAS: list[losses.Beta] = [0.0, 0.1, 0.5, 0.9, 1.0, "symmetric"]
Tensors = tuple[torch.Tensor, torch.Tensor]


def gradient(value: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value.sum(), inputs)[0]


def close(a: torch.Tensor, b: torch.Tensor, **tolerance: float) -> None:
    torch.testing.assert_close(a, b, **(tolerance or {"rtol": 1e-10, "atol": 1e-12}))
