"""Does a LoRA folder hold a valid adapter, and does it fit this base? Decided by tensor shapes, not by names."""

import re
from pathlib import Path
from typing import Any

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.digest import read_json, weight_files
from copsd_bench.models.tensors import Shapes, tensor_shapes

_PREFIX = "base_model.model."
_LORA = re.compile(r"^(?P<module>.+)\.(?P<kind>lora_A|lora_B|lora_embedding_A|lora_embedding_B)(\.weight)?$")


def check_adapter(adapter: Path, base: Path) -> None:
    """Check a PEFT LoRA folder against a base model folder.

    Raises:
        CopsdError: not a LoRA adapter in safetensors, damaged, or made for another base (exit code MODEL).
    """
    config = read_adapter_config(adapter)
    tensors = tensor_shapes([adapter / "adapter_model.safetensors"])
    layers = {key.removeprefix(_PREFIX): shape for key, shape in tensors.items()}
    if not any(_LORA.match(key) for key in layers):
        raise CopsdError(f"{adapter}/adapter_model.safetensors holds no LoRA tensors; save it again.", ExitCode.MODEL)

    base_config = read_json(base / "config.json")
    # Packed weights of a quantised checkpoint do not have their layer's shape; the model built from its config does.
    weights = {} if "quantization_config" in base_config else tensor_shapes(weight_files(base))
    if any(_target(key) not in weights for key in layers if _is_checked(key)):
        # Names in memory can differ from names on disk (multimodal wrappers, tied heads): ask the model itself.
        weights |= _shapes_in_memory(base)
    made_for = config.get("base_model_name_or_path") or "a base it does not name"
    for key, shape in layers.items():
        if not _is_checked(key):
            continue
        target = _target(key)
        expected = weights.get(target)
        if expected is None or not _fits(key, shape, expected, bool(config.get("fan_in_fan_out"))):
            why = "it has no such layer" if expected is None else f"there {list(expected)}, here {list(shape)}"
            raise CopsdError(
                f"{adapter} is an adapter of another base (made for {made_for}): {key} does not fit "
                f"{target.removesuffix('.weight')} of {base} ({why}); pass the model it was trained on as --model.",
                ExitCode.MODEL,
            )


def leaves_weights_alone(adapter: Path) -> bool:
    """Whether PEFT puts a LoRA beside the base's weights without reading or copying them.

    DoRA scales by the norms of the weights, `modules_to_save` starts from copies of whole layers, and some kinds of
    initialisation (PiSSA, OLoRA ...) decompose the weights, also when the adapter is only loaded.
    """
    config = read_adapter_config(adapter)
    reads = ("use_dora", "modules_to_save", "trainable_token_indices")
    return not any(map(config.get, reads)) and config.get("init_lora_weights") in (None, True, False, "gaussian")


def read_adapter_config(adapter: Path) -> dict[str, object]:
    """The config of a PEFT LoRA folder that has its weights as safetensors.

    Raises:
        CopsdError: no such folder, no adapter in it, another kind of adapter, or pickled weights.
    """
    if not adapter.is_dir():
        raise CopsdError(f"There is no adapter folder {adapter}; give the folder PEFT saved.", ExitCode.MODEL)
    if not (adapter / "adapter_config.json").is_file():
        raise CopsdError(
            f"{adapter} is no PEFT adapter: it has no adapter_config.json; give the folder PEFT saved.", ExitCode.MODEL
        )
    config = read_json(adapter / "adapter_config.json")
    if config.get("peft_type") != "LORA":
        raise CopsdError(
            f"{adapter} is a {config.get('peft_type')} adapter; only LORA can be switched on one copy of the weights.",
            ExitCode.MODEL,
        )
    if not (adapter / "adapter_model.safetensors").is_file():
        pickled = (adapter / "adapter_model.bin").is_file()
        found = "adapter_model.bin (a pickle, which can run code)" if pickled else "no weights"
        raise CopsdError(
            f"{adapter} holds {found}; only adapter_model.safetensors is loaded: save it again with safetensors.",
            ExitCode.MODEL,
        )
    return config


def outside_language(adapter: Path, base: Path) -> str | None:
    """A layer that an adapter changes outside the language model (in the vision tower, the projector), or None.

    Raises:
        CopsdError: the base takes images and needs code of its own: its layers are not known without running it.
    """
    if "vision_config" not in read_json(base / "config.json"):
        return None
    pattern = re.compile(not_language(_in_memory(base)) or "(?!)")
    layers = (_target(key.removeprefix(_PREFIX)) for key in tensor_shapes([adapter / "adapter_model.safetensors"]))
    return next((layer.removesuffix(".weight") for layer in layers if pattern.fullmatch(layer)), None)


def not_language(model: Any) -> str | None:
    """A pattern of the names of all modules outside the language model: the vision tower and its projector.

    None for a text-only model.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not hasattr(inner.config, "vision_config"):
        return None
    decoder = next(name for name, module in inner.named_modules() if module is inner.get_decoder())
    return rf"(?!{re.escape(decoder)}\.|lm_head).*"


def _is_checked(key: str) -> bool:
    """Factors and fully trained weights have a counterpart in the base; DoRA magnitudes and biases are left to PEFT."""
    return bool(_LORA.match(key)) or (key.endswith(".weight") and "lora_" not in key)


def _target(key: str) -> str:
    match = _LORA.match(key)
    module = match["module"] if match else key.removesuffix(".weight")
    return f"{module.removesuffix('.base_layer')}.weight"  # PEFT may save a wrapped embedding beside its factors


def _fits(key: str, shape: tuple[int, ...], base: tuple[int, ...], fan_in_fan_out: bool) -> bool:
    match = _LORA.match(key)
    if match is None:
        return shape == base
    if len(shape) != 2 or len(base) != 2:
        return len(shape) == len(base)  # convolutions: PEFT checks their kernels
    inputs, outputs = (base[0], base[1]) if fan_in_fan_out else (base[1], base[0])
    sides = {
        "lora_A": (shape[1], inputs),
        "lora_B": (shape[0], outputs),
        "lora_embedding_A": (shape[1], base[0]),
        "lora_embedding_B": (shape[0], base[1]),
    }
    found, expected = sides[match["kind"]]
    return found == expected


def _shapes_in_memory(base: Path) -> Shapes:
    return {name: tuple(value.shape) for name, value in _in_memory(base).named_parameters(remove_duplicate=False)}


def _in_memory(base: Path) -> Any:
    """The model its config describes, built without memory for its weights.

    Raises:
        CopsdError: the base needs code of its own, so that its layers cannot be known without running it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    try:
        config = AutoConfig.from_pretrained(base)
    except ValueError as error:
        raise CopsdError(
            f"The layers of {base} cannot be compared with the adapter's, as transformers does not know this model "
            f"without its own code; merge the adapter into the base and pass that folder as --model.",
            ExitCode.MODEL,
        ) from error
    kind = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
    with torch.device("meta"):
        return kind.from_config(config)
