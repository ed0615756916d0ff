"""Linear layers of a frozen bf16 model on a CPU, their weights laid out once as oneDNN wants them.

`torch.nn.functional.linear` lays them out again at every call, which for a few dozen rows costs about as much as the
product itself. The results are the same bits.
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


def can_pack() -> bool:
    """Whether this machine has the layout."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def pack_linears(model: Any) -> list[Replaced]:
    """Pack every plain linear layer of a bf16 model on a CPU in place; other models stay as they are.

    On a CPU without bf16 instructions too, where oneDNN has no such layout and torch computes by emulation.

    A weight that is also used elsewhere (an LM head tied to the embedding) stays in memory in both layouts.

    Returns:
        The layers that were replaced, each with its parent and its name there.
    """
    if model.device.type != "cpu" or model.dtype != torch.bfloat16 or not can_pack():
        return []
    layers = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is torch.nn.Linear and child.weight.dtype == torch.bfloat16
    ]
    for parent, name, child in layers:
        setattr(parent, name, PackedLinear(child))
    return layers


@contextmanager
def packed(model: Any) -> Iterator[None]:
    """Packs the layers of a model under training for as long as it generates; both layouts are in memory then."""
    layers = pack_linears(model)
    try:
        yield
    finally:
        for parent, name, linear in layers:
            setattr(parent, name, linear)
