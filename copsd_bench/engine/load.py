"""Load a model, its tokenizer or processor, and its adapters with transformers and PEFT."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from copsd_bench.engine.images import Processor
from copsd_bench.errors import CopsdError, ExitCode


@dataclass(frozen=True)
class Loaded:
    """A model ready for inference: in eval mode, without gradients."""

    model: Any
    tokenizer: Any
    processor: Processor | None
    max_length: int
    eos_ids: frozenset[int]


def load_model(
    path: Path, adapters: Mapping[str, Path], dtype: str, device: str, trust_remote_code: bool, packed: bool = False
) -> Loaded:
    """Load from a folder; nothing is fetched and no pickle is opened.

    Args:
        path, adapters, dtype, device, trust_remote_code: as for `TransformersEngine`.
        packed: for inference only (see `pack_linears`).

    Raises:
        CopsdError: the folder holds no loadable safetensors model, or an adapter does not fit it.
    """
    # Every path is local by now: a missing optional file must not turn into a slow look-up on a hub.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import torch
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoTokenizer,
    )
    from transformers.utils import logging

    from copsd_bench.engine.attention import use_fast_cpu_attention
    from copsd_bench.engine.heap import release_memory
    from copsd_bench.engine.packed import pack_linears

    logging.disable_progress_bar()
    common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    what, remedy = f"Model {path}", "check that its folder is complete"
    try:
        config = AutoConfig.from_pretrained(path, **common)
        vision = hasattr(config, "vision_config")
        loader = AutoModelForImageTextToText if vision else AutoModelForCausalLM
        model = loader.from_pretrained(path, dtype=getattr(torch, dtype), use_safetensors=True, **common)
        what, remedy = f"The tokenizer of {path}", "copy tokenizer.json, or what it is made of, into the folder"
        tokenizer = AutoTokenizer.from_pretrained(path, **common)
        processor = Processor(path, tokenizer, config.image_token_id, trust_remote_code) if vision else None
        tokenizer = processor.tokenizer if processor is not None else tokenizer
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        reason = shorten(str(error), 160, placeholder=" …").rstrip(".") or type(error).__name__
        raise CopsdError(f"{what} cannot be loaded: {reason}; {remedy}.", ExitCode.MODEL) from error
    model = model.to(device)
    use_fast_cpu_attention(model)
    model.requires_grad_(False)
    model.eval()
    if packed:
        pack_linears(model)
        release_memory()
    for name, folder in adapters.items():
        model = with_adapter(model, name, folder)
    from copsd_bench.engine.transformers_engine import eos_ids

    text_config = config.get_text_config()
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        processor=processor,
        max_length=int(getattr(text_config, "max_position_embeddings", 0) or tokenizer.model_max_length),
        eos_ids=eos_ids(tokenizer, model.generation_config, text_config),
    )


def with_adapter(model: Any, name: str, folder: Path) -> Any:
    """The model with one more LoRA adapter, for inference.

    Raises:
        CopsdError: the adapter does not fit this base.
    """
    from peft import PeftModel

    # The adapter follows the base's dtype: PEFT would keep a bf16 base's adapter in float32 and cast at every layer.
    options: dict[str, Any] = {"adapter_name": name, "autocast_adapter_dtype": False}
    try:
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), **options)
        else:
            model = PeftModel.from_pretrained(model, str(folder), **options)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CopsdError(
            f"Adapter {folder} does not fit this base model ({reason}); use the base it was trained on.",
            ExitCode.MODEL,
        ) from error
    model.requires_grad_(False)
    return model.eval()
