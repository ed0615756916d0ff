"""Other architectures: windows, recurrent states, capped logits, caches of their own. All equal the naive result."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from copsd_bench.engine.kv import cache_use
from copsd_bench.engine.protocol import Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from tests.engine import naive
from tests.engine.tiny import save_tiny

MAMBA2: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
GATED_DELTA: dict[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
MIXED_WINDOW = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
KINDS: dict[str, dict[str, Any]] = {
    # full attention: joined and expanded
    "gpt2": {"n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "bloom": {"n_head": 4, "n_layer": 2},
    "granite": {"logits_scaling": 3.0},
    # sliding windows: expanded, not joined
    "mistral": {"sliding_window": 8},
    "gemma2": {"sliding_window": 8, "final_logit_softcapping": 5.0},
    "gemma3_text": MIXED_WINDOW,
    "gpt_oss": {**MIXED_WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_scaling": None},
    "llama4_text": {"num_local_experts": 2, "intermediate_size_mlp": 48, "attention_chunk_size": 8},
    # recurrent states: neither
    "qwen3_5_text": GATED_DELTA,
    "bamba": {**MAMBA2, "attn_layer_indices": [1]},
    "falcon_h1": {**MAMBA2, "mamba_d_ssm": 64},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    # state that the cache does not hold, or that padding enters: every token in full
    "mamba": {"state_size": 8},
    "rwkv": {},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"], "lru_width": 32, "attention_window_size": 8},
}
BY_CACHE = {
    "joined": ("gpt2", "bloom", "granite"),
    "expanded": ("mistral", "gemma2", "gemma3_text", "gpt_oss", "llama4_text"),
    "batched": ("qwen3_5_text", "bamba", "falcon_h1", "lfm2"),
    "uncached": ("mamba", "rwkv", "recurrent_gemma"),
}
CAPPED = ("gemma2", "granite")
PROMPTS = [tuple((7 * i + 13 * j) % 250 for j in range(n)) for i, n in enumerate((12, 3, 1, 20, 7, 5))]


@pytest.fixture(scope="module", params=KINDS)
def named(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, TransformersEngine]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_tiny(folder, request.param, **KINDS[request.param])
        return request.param, TransformersEngine(folder, batch_size=4)


def test_the_cache_is_used_as_far_as_it_can_be(named: tuple[str, TransformersEngine]) -> None:
    kind, engine = named
    use = engine.cache_use
    assert use.batches == (kind not in BY_CACHE["uncached"])
    assert use.joins == (kind in BY_CACHE["joined"])
    assert use.expands == (kind in BY_CACHE["joined"] + BY_CACHE["expanded"])


def test_tokens_nobody_trained_say_nothing_about_the_cache(tmp_path: Path) -> None:
    """Rounding on top of special tokens made a fine-tuned SmolLM2 look as if it ignored its cache."""
    engine = TransformersEngine(save_tiny(tmp_path))
    engine.model.get_input_embeddings().weight.data[1:16] = torch.nan  # 0 stands where padding is
    assert cache_use(engine.head) == engine.cache_use
    assert engine.cache_use.preallocates


def test_a_model_that_cannot_use_its_cache_says_that_it_is_slow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    TransformersEngine(save_tiny(tmp_path / "llama"))
    assert not caplog.records
    TransformersEngine(save_tiny(tmp_path / "mamba", "mamba", **KINDS["mamba"]))
    assert "mamba answers otherwise with its cache" in caplog.text


def test_greedy_generation_equals_the_naive_loop(named: tuple[str, TransformersEngine]) -> None:
    _, engine = named
    got = engine.generate(View(), [Prompt(ids=ids) for ids in PROMPTS], Sampling(max_tokens=12))
    assert [list(c.ids) for c in got] == [naive.greedy(engine.model, ids, 12, engine.eos_ids) for ids in PROMPTS]


def test_scores_equal_the_full_forward(named: tuple[str, TransformersEngine]) -> None:
    _, engine = named
    rows = [(PROMPTS[0], (5, 6, 7)), (PROMPTS[0], (9,)), (PROMPTS[1], tuple(range(1, 12))), (PROMPTS[2], (4, 4))]
    got = engine.score(View(), [Prompt(ids=prompt) for prompt, _ in rows], [c for _, c in rows], entropy=True)
    for scores, (prompt, completion) in zip(got, rows, strict=True):
        logprobs, greedy, entropies = naive.score(engine.model, prompt, completion)
        assert scores.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert scores.entropies == pytest.approx(entropies, abs=1e-4)
        assert list(scores.is_greedy) == greedy


def test_logits_changed_after_the_head_take_the_full_forward(named: tuple[str, TransformersEngine]) -> None:
    kind, engine = named
    if kind in CAPPED:
        assert not engine.head.separate
