"""Tiny random models of many architectures with a byte tokenizer, saved the way users save theirs."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

VOCAB = 300
EOS, BOS, IMAGE = 257, 256, 258

CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A plain template of the ChatML family, in our own words."""

SMALL: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": EOS,
    "tie_word_embeddings": False,
    # Spread logits: a fresh model's are so flat that float32 rounding decides the argmax.
    "initializer_range": 0.3,
}


def byte_tokenizer(template: str | None = CHATML, adds_bos: bool = False) -> PreTrainedTokenizerFast:
    """One token a byte, and a few special ones."""
    vocab = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    special = {"<bos>": BOS, "<eos>": EOS, "<image>": IMAGE}
    tokenizer = Tokenizer(models.BPE(vocab={**vocab, **special}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", BOS)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", additional_special_tokens=["<image>"]
    )
    fast.chat_template = template
    return fast


def save_tiny(folder: Path, kind: str = "llama", template: str | None = CHATML, **settings: Any) -> Path:
    """A random model of an architecture, by its transformers name, with a tokenizer."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **settings})
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer(template).save_pretrained(folder)
    return folder


def save_tiny_classifier(
    folder: Path, labels: tuple[str, ...], problem: str = "multi_label_classification", **settings: Any
) -> Path:
    """A random classifier with a tokenizer."""
    torch.manual_seed(1)
    names = dict(enumerate(labels))
    config = AutoConfig.for_model("llama", **{**SMALL, "id2label": names, "problem_type": problem, **settings})
    AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
