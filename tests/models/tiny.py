"""Tiny random Llama models and LoRA adapters on them, saved the way users save theirs."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM


def save_model(folder: Path, hidden: int = 16, layers: int = 2, tied: bool = False) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        tie_word_embeddings=tied,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: Path, targets: str | list[str] = "all-linear", **more: Any) -> Path:
    torch.manual_seed(1)
    model = LlamaForCausalLM.from_pretrained(base)
    config = LoraConfig(r=2, target_modules=targets, init_lora_weights=False, **more)
    get_peft_model(model, config).save_pretrained(folder)
    return folder
