"""Engines shared by the tests of this folder: the real model in float32, and tiny random ones."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.models.resolve import ResolvedModel
from tests.engine.tiny import save_tiny


@pytest.fixture(scope="session")
def smollm2_engine(smollm2: ResolvedModel) -> TransformersEngine:
    """The built-in model in float32, four rows at a time so that rows have to join late."""
    return TransformersEngine(smollm2.path, dtype="float32", batch_size=4)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def tiny_adapters(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> dict[str, Path]:
    """Two strong random adapters on the tiny Llama."""
    folders = {}
    for seed, name in enumerate(("student", "teacher")):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_pretrained(tiny_llama)
        lora = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
        folders[name] = tmp_path_factory.mktemp(name)
        get_peft_model(model, lora).save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def tiny_engine(tiny_llama: Path, tiny_adapters: dict[str, Path]) -> TransformersEngine:
    return TransformersEngine(tiny_llama, tiny_adapters, batch_size=4)
