"""What a resolved model is, for people."""

import math
from pathlib import Path
from typing import Any

from copsd_bench.models.digest import read_json, weight_files
from copsd_bench.models.dtype import cpu_bf16_flags, default_device, default_dtype
from copsd_bench.models.resolve import ResolvedModel
from copsd_bench.models.tensors import tensor_dtypes, tensor_shapes


def describe(model: ResolvedModel) -> dict[str, str]:
    """Facts about a model, by heading. Reads configs, tensor headers and the tokenizer, not the weights."""
    config = read_json(model.path / "config.json")
    text = config.get("text_config") or config  # multimodal models nest the language model's config
    device = default_device()
    dtype = default_dtype(device)
    flags = ", ".join(sorted(cpu_bf16_flags())) or "no bfloat16 instructions"
    why = f"CPU with {flags}" if device == "cpu" else device
    facts = {
        "model": model.name,
        "folder": str(model.path),
        "revision": model.revision or "",
        "weights digest": model.weights_digest,
        "tokenizer digest": model.tokenizer_digest,
        "template digest": model.template_digest or "none: it has no chat template",
        "architecture": f"{', '.join(config.get('architectures') or ['unknown'])} ({config.get('model_type')})",
        "parameters": f"{count_parameters(model.path) / 1e6:,.1f} M",
        "stored as": ", ".join(sorted(tensor_dtypes(weight_files(model.path)))),
        "runs as": f"{dtype} ({why})",
        "context": f"{text.get('max_position_embeddings', 'unknown')} tokens",
        "vocabulary": f"{text.get('vocab_size', 'unknown')} tokens",
        "end of sequence": _end_of_sequence(model.path, text),
    }
    if model.adapter is not None:
        facts |= _adapter_facts(model.adapter, model.adapter_digest or "")
    return {heading: value for heading, value in facts.items() if value}


def count_parameters(folder: Path) -> int:
    """Parameters stored in a folder's safetensors; tied weights count once (they are stored once)."""
    return sum(math.prod(shape) for shape in tensor_shapes(weight_files(folder)).values())


def _end_of_sequence(folder: Path, config: dict[str, Any]) -> str:
    generation = folder / "generation_config.json"
    ids = (read_json(generation) if generation.is_file() else config).get("eos_token_id")
    if ids is None:
        return "none"
    wanted = ids if isinstance(ids, list) else [ids]
    if not (folder / "tokenizer.json").is_file():
        return ", ".join(map(str, wanted))
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return ", ".join(f"{tokenizer.id_to_token(i)} ({i})" for i in wanted)


def _adapter_facts(adapter: Path, digest: str) -> dict[str, str]:
    config = read_json(adapter / "adapter_config.json")
    size = sum(math.prod(shape) for shape in tensor_shapes([adapter / "adapter_model.safetensors"]).values())
    targets = config.get("target_modules")
    names = ", ".join(sorted(targets)) if isinstance(targets, list) else str(targets)
    return {
        "adapter": str(adapter),
        "adapter digest": digest,
        "adapter kind": f"LoRA r={config.get('r')} alpha={config.get('lora_alpha')}, {size / 1e6:,.2f} M parameters",
        "adapter targets": names,
        "adapter made for": str(config.get("base_model_name_or_path") or "not named (it fits by shape)"),
    }
