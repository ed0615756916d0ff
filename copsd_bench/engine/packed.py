"""Linear layers of a frozen model on a CPU, their weights laid out once as oneDNN wants them.

In bf16 `torch.nn.functional.linear` lays them out again at every call, which for a few dozen rows costs about as much
as the product itself; the results are the same bits. In float32 it takes the matrix library's product, which is up to
twice as slow for so few rows; the results are the same up to rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

ROWS = 64
"""Rows the layout is chosen for; others use it too."""

Replaced = tuple[torch.nn.Module, str, torch.nn.Linear]


class PackedLinear(torch.nn.Linear):
    """A linear layer for inference, [.., K] -> [.., N]; PEFT can put an adapter on it like on any other.

    Args:
        linear: the layer it stands for; its weight may be freed afterwards.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        torch.nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_parameter("bias", linear.bias)
        # A plain attribute: in this layout it is nothing that a state dict or an optimiser could take.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)  # type: ignore[assignment]

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As `torch.nn.Linear`.

        Raises:
            RuntimeError: a gradient is wanted.
        """
        if torch.is_grad_enabled() and input.requires_grad:
            raise RuntimeError("packed weights give no gradients; load the engine without `packed`")
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return output


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for bf16; torch emulates them otherwise, which is many times slower."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this machine has a layout for weights of this dtype; for float32 on x86, where it was measured."""
    if dtype == torch.float32:
        return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX")
    return dtype == torch.bfloat16 and multiplies_bf16()


def pack_linears(model: Any) -> None:
    """Pack every frozen plain linear layer of a model on a CPU in place, where `can_pack`; others stay as they are.

    A weight that is also used elsewhere (an LM head tied to the embedding) stays in memory in both layouts.
    """
    layers = _plain_layers(model)
    if not layers:
        return
    while layers:  # a layer's own weight is given back before the next one is laid out
        _pack(*layers.pop())
    for weight in model.parameters():  # what is left keeps the whole file mapped, with all that was packed
        weight.data = weight.data.clone()


@contextmanager
def packed(model: Any) -> Iterator[None]:
    """Packs the layers of a model under training for as long as it generates; both layouts are in memory then."""
    layers = _plain_layers(model)
    for layer in layers:
        _pack(*layer)
    try:
        yield
    finally:
        for parent, name, linear in layers:
            setattr(parent, name, linear)


def _plain_layers(model: Any) -> list[Replaced]:
    """The layers to pack, each with its parent and its name there."""
    if model.device.type != "cpu" or not can_pack(model.dtype):
        return []
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear and child.weight.dtype == model.dtype and not child.weight.requires_grad
    ]


def _pack(parent: torch.nn.Module, name: str, linear: torch.nn.Linear) -> None:
    setattr(parent, name, PackedLinear(linear))
