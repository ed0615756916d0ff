"""Packed weights give the same bits as the layers they replace, with adapters and tied heads too."""

from pathlib import Path
from typing import Any

import pytest
import torch

from copsd_bench.engine import spec
from copsd_bench.engine.packed import PackedLinear, can_pack, pack_linears, packed
from copsd_bench.engine.protocol import View
from copsd_bench.engine.spec import EngineSpec, load_worker
from copsd_bench.engine.transformers_engine import TransformersEngine
from tests.models.tiny import save_adapter

needs_layout = pytest.mark.skipif(not can_pack(), reason="this CPU has no bf16 instructions, so there is no layout")


@needs_layout
@pytest.mark.parametrize("rows", [1, 7, 64, 300])
@pytest.mark.parametrize("bias", [False, True])
def test_same_bits_as_the_layer_it_replaces(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 160, bias=bias, dtype=torch.bfloat16)
    states = torch.randn(2, rows, 96, dtype=torch.bfloat16)
    with torch.inference_mode():
        assert torch.equal(PackedLinear(linear)(states), linear(states))


@needs_layout
def test_a_gradient_is_refused() -> None:
    packed = PackedLinear(torch.nn.Linear(32, 32, dtype=torch.bfloat16))
    with pytest.raises(RuntimeError, match="no gradients"):
        packed(torch.randn(1, 32, dtype=torch.bfloat16, requires_grad=True))


@pytest.mark.parametrize("adapter", [None, "student", "teacher"])
def test_an_engine_scores_alike_packed_or_not(
    tiny_llama: Path, tiny_adapters: dict[str, Path], adapter: str | None
) -> None:
    scores = []
    for pack in (False, True):
        engine = TransformersEngine(tiny_llama, tiny_adapters, "bfloat16", packed=pack)
        linears = {type(module) for module in engine.model.modules() if isinstance(module, torch.nn.Linear)}
        assert (PackedLinear in linears) == (pack and can_pack())
        scores.append(engine.score(View(adapter), [engine.encode("Hello")], [[5, 6, 7, 8]]))
    assert scores[0] == scores[1]


@pytest.mark.parametrize("kind", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {}], ids=["dora", "copies", ""])
def test_an_adapter_that_needs_the_weights_finds_them(
    tiny_llama: Path, tmp_path: Path, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside plain adapters and the base, which share an engine whose layers are packed where they can be."""
    monkeypatch.setattr(spec, "_workers", {})
    monkeypatch.setattr(spec, "_engines", {})
    adapter = save_adapter(tmp_path / "adapter", tiny_llama, **kind)
    scores = []
    for folder in (None, str(adapter)):
        worker = load_worker(EngineSpec(str(tiny_llama), adapter=folder, dtype="bfloat16", device="cpu"))
        scores.append(worker.engine.score(worker.view, [worker.engine.encode("Hello")], [[5, 6, 7, 8]]))
    plain = TransformersEngine(tiny_llama, {"mine": adapter}, "bfloat16")
    assert scores[1] == plain.score(View("mine"), [plain.encode("Hello")], [[5, 6, 7, 8]])
    assert scores[1] != scores[0]
    assert len(spec._engines) == 1 + bool(kind)
    spec.release()


def test_a_float32_model_keeps_its_layers(tiny_llama: Path) -> None:
    engine = TransformersEngine(tiny_llama, dtype="float32", packed=True)
    pack_linears(engine.model)
    assert not any(isinstance(module, PackedLinear) for module in engine.model.modules())


@needs_layout
def test_a_model_under_training_is_packed_for_a_while(tiny_llama: Path, tiny_adapters: dict[str, Path]) -> None:
    engine = TransformersEngine(tiny_llama, tiny_adapters, "bfloat16")
    before = dict(engine.model.named_modules())
    prompt = engine.encode("Hello")
    states = torch.randn(3, engine.model.config.hidden_size, dtype=torch.bfloat16)
    plain = engine.score(View("student"), [prompt], [[5, 6, 7]]), engine.head.logits(states)
    with packed(engine.model):
        layers = [module for module in engine.model.modules() if isinstance(module, torch.nn.Linear)]
        assert all(type(layer) is PackedLinear for layer in layers if layer.weight.dtype == torch.bfloat16)
        again = engine.score(View("student"), [prompt], [[5, 6, 7]]), engine.head.logits(states)
    assert plain[0] == again[0]
    assert torch.equal(plain[1], again[1])
    assert dict(engine.model.named_modules()) == before
