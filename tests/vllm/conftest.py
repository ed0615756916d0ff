"""One vLLM engine and one transformers engine on the same real model and the same LoRA adapters, in float32."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from copsd_bench.benchmarks.mini_items import load_mini_items
from copsd_bench.engine.protocol import Prompt
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.vllm_engine import VllmEngine
from copsd_bench.models.resolve import ResolvedModel

WINDOW = 512
"""Context window of the vLLM engine in tokens, small so that it can be filled."""


def save_adapter(folder: Path, base: Path, seed: int, **options: object) -> Path:
    """A LoRA adapter with random weights, small enough that the model still writes words."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(r=4, lora_alpha=2, target_modules="all-linear", init_lora_weights=False, **options)
    get_peft_model(model, config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapters(smollm2: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: save_adapter(folder / name, smollm2.path, seed) for name, seed in (("first", 1), ("second", 2))}


@pytest.fixture(scope="session")
def engine(smollm2: ResolvedModel, adapters: dict[str, Path]) -> Iterator[VllmEngine]:
    with VllmEngine(smollm2.path, adapters, "float32", max_model_len=WINDOW) as engine:
        yield engine


@pytest.fixture(scope="session")
def reference(smollm2: ResolvedModel, adapters: dict[str, Path]) -> TransformersEngine:
    return TransformersEngine(smollm2.path, adapters, "float32")


@pytest.fixture(scope="session")
def prompts(engine: VllmEngine) -> list[Prompt]:
    """Questions of very different lengths."""
    items = load_mini_items()[::11][:12]
    return [engine.encode([{"role": "user", "content": item.prompt}]) for item in items]
