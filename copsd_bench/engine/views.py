"""Look at the same weights in another way for a while: switch an adapter, steer the residual stream, restore both."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from copsd_bench.engine.protocol import Intervention, View
from copsd_bench.errors import CopsdError, unknown_name


@contextmanager
def using(model: Any, view: View) -> Iterator[None]:
    """Put a view on a model inside the block; afterwards active adapters and trainable parameters are as before."""
    with ExitStack() as stack:
        stack.enter_context(_using_adapter(model, view.adapter))
        if view.intervention is not None:
            stack.enter_context(_intervening(model, view.intervention))
        yield


def decoder_layers(model: Any) -> Any:
    """The decoder blocks of a causal or vision-language model, with or without a PEFT wrapper."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.get_decoder().layers


def decoder_layer(model: Any, layer: int) -> Any:
    """One decoder block.

    Raises:
        CopsdError: the model has no such block.
    """
    blocks = decoder_layers(model)
    if not 0 <= layer < len(blocks):
        raise CopsdError(f"The model has the decoder blocks 0 to {len(blocks) - 1}, no block {layer}.")
    return blocks[layer]


@contextmanager
def _using_adapter(model: Any, name: str | None) -> Iterator[None]:
    adapters = getattr(model, "peft_config", None)
    if not adapters:
        if name is not None:
            raise unknown_name("adapter", name, [])
        yield
        return
    if name is not None and name not in adapters:
        raise unknown_name("adapter", name, adapters)
    # PEFT freezes every adapter but the active one, and unfreezes that: what was trainable is remembered and put back.
    trainable = {n: p.requires_grad for n, p in model.named_parameters()}
    try:
        with model.disable_adapter() if name is None else _switched(model, name):
            yield
    finally:
        for n, p in model.named_parameters():
            p.requires_grad_(trainable[n])


@contextmanager
def _switched(model: Any, name: str) -> Iterator[None]:
    before = list(model.active_adapters)
    model.set_adapter(name)
    try:
        yield
    finally:
        model.set_adapter(before[0] if len(before) == 1 else before)


@contextmanager
def _intervening(model: Any, intervention: Intervention) -> Iterator[None]:
    everywhere = intervention.layer is None
    if everywhere and intervention.kind == "add":
        raise CopsdError("A vector is added at one decoder block; name its layer.")
    blocks = decoder_layers(model) if intervention.layer is None else [decoder_layer(model, intervention.layer)]
    hidden = model.config.get_text_config().hidden_size
    if tuple(intervention.vector.shape) != (hidden,):
        raise CopsdError(
            f"An intervention needs a vector of the model's hidden size {hidden}, not of shape "
            f"{list(intervention.vector.shape)}."
        )
    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.register_forward_pre_hook(_input_hook(intervention), with_kwargs=True).remove)
            for part in _writers(block) if everywhere else ():
                stack.callback(part.register_forward_hook(_output_hook(intervention)).remove)
        yield


def _writers(block: Any) -> list[Any]:
    """The parts of a block that may write to the residual stream, attention and MLP by any name: those with matrices.

    Norms have vectors only.
    """
    return [child for child in block.children() if any(p.dim() > 1 for p in child.parameters())]


def _input_hook(intervention: Intervention) -> Any:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (_change(args[0], intervention), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _change(kwargs["hidden_states"], intervention)}

    return hook


def _output_hook(intervention: Intervention) -> Any:
    def hook(module: Any, args: tuple[Any, ...], output: Any) -> Any:
        first, *rest = output if isinstance(output, tuple) else (output,)
        if first.shape[-1] != intervention.vector.shape[0]:  # the first half of an MLP that is not a module of its own
            return output
        changed = _change(first, intervention)
        return (changed, *rest) if isinstance(output, tuple) else changed

    return hook


def _change(hidden: torch.Tensor, intervention: Intervention) -> torch.Tensor:
    vector = intervention.vector.to(hidden)
    if intervention.kind == "add":
        return hidden + intervention.scale * vector
    unit = vector / vector.norm()
    return hidden - (hidden @ unit).unsqueeze(-1) * unit
