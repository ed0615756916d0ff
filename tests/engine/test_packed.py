"""Packed weights give what the layers they replace do, in bf16 the same bits; with adapters and tied heads too."""

from pathlib import Path
from typing import Any

import pytest
import torch

from copsd_bench.engine import spec
from copsd_bench.engine.packed import PackedLinear, can_pack, packed
from copsd_bench.engine.protocol import View
from copsd_bench.engine.spec import EngineSpec, load_worker
from copsd_bench.engine.transformers_engine import TransformersEngine
from tests.models.tiny import save_adapter

DTYPES = [
    pytest.param(dtype, marks=pytest.mark.skipif(not can_pack(dtype), reason=f"this CPU has no layout for {dtype}"))
    for dtype in (torch.bfloat16, torch.float32)
]
TOLERANCE = {torch.bfloat16: 0.0, torch.float32: 1e-5}
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@each_dtype
@pytest.mark.parametrize("rows", [1, 7, 64, 300])
@pytest.mark.parametrize("bias", [False, True])
def test_it_gives_the_results_of_the_layer_it_replaces(rows: int, bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 160, bias=bias, dtype=dtype).requires_grad_(False)
    states = torch.randn(2, rows, 96, dtype=dtype)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(linear)(states), linear(states), rtol=0, atol=TOLERANCE[dtype])


@each_dtype
def test_a_gradient_is_refused(dtype: torch.dtype) -> None:
    packed = PackedLinear(torch.nn.Linear(32, 32, dtype=dtype))
    with pytest.raises(RuntimeError, match="no gradients"):
        packed(torch.randn(1, 32, dtype=dtype, requires_grad=True))


@pytest.mark.parametrize("adapter", [None, "student", "teacher"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_engine_scores_alike_packed_or_not(
    tiny_llama: Path, tiny_adapters: dict[str, Path], adapter: str | None, dtype: torch.dtype
) -> None:
    scores = []
    for pack in (False, True):
        engine = TransformersEngine(tiny_llama, tiny_adapters, name(dtype), packed=pack)
        linears = {type(module) for module in engine.model.modules() if isinstance(module, torch.nn.Linear)}
        assert (PackedLinear in linears) == (pack and can_pack(dtype))
        [found] = engine.score(View(adapter), [engine.encode("Hello")], [[5, 6, 7, 8]])
        scores.append(found)
    assert scores[0].logprobs == pytest.approx(scores[1].logprobs, abs=TOLERANCE[dtype])
    assert scores[0].is_greedy == scores[1].is_greedy


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


def test_a_model_in_float16_keeps_its_layers(tiny_llama: Path) -> None:
    engine = TransformersEngine(tiny_llama, dtype="float16", packed=True)
    assert not any(isinstance(module, PackedLinear) for module in engine.model.modules())


@each_dtype
def test_a_model_under_training_is_packed_for_a_while(
    tiny_llama: Path, tiny_adapters: dict[str, Path], dtype: torch.dtype
) -> None:
    engine = TransformersEngine(tiny_llama, tiny_adapters, name(dtype))
    before = dict(engine.model.named_modules())
    prompt = engine.encode("Hello")
    states = torch.randn(3, engine.model.config.hidden_size, dtype=dtype)
    plain = engine.score(View("student"), [prompt], [[5, 6, 7]])[0].logprobs, engine.head.logits(states)
    with packed(engine.model):
        layers = [module for module in engine.model.modules() if isinstance(module, torch.nn.Linear)]
        assert all(type(layer) is PackedLinear for layer in layers)
        again = engine.score(View("student"), [prompt], [[5, 6, 7]])[0].logprobs, engine.head.logits(states)
    assert plain[0] == pytest.approx(again[0], abs=TOLERANCE[dtype])
    torch.testing.assert_close(plain[1], again[1], rtol=0, atol=TOLERANCE[dtype])
    assert dict(engine.model.named_modules()) == before
