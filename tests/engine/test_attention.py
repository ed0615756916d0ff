"""The fast attention of few queries equals the fused kernel within the precision of its numbers."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from copsd_bench.engine.attention import QUERIES, _attention, _fits, _mask

BATCH, HEADS, GROUPS, WIDTH, DIM = 3, 6, 2, 17, 8


TOLERANCE = {torch.bfloat16: 2e-2, torch.float32: 1e-5}
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def inputs(
    queries: int, dtype: torch.dtype = torch.bfloat16
) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    module = SimpleNamespace(num_key_value_groups=HEADS // GROUPS, is_causal=True, training=False)
    query = torch.randn(BATCH, HEADS, queries, DIM).to(dtype)
    key, value = torch.randn(2, BATCH, GROUPS, WIDTH, DIM).to(dtype)
    mask = torch.ones(BATCH, 1, queries, WIDTH, dtype=torch.bool)
    mask[1, :, :, :9] = False  # left padding
    return module, query, key, value, mask


@each_dtype
@pytest.mark.parametrize("kind", ["none", "bool", "additive"])
@pytest.mark.parametrize("scaling", [None, 0.1])
def test_one_query_equals_the_fused_kernel(kind: str, scaling: float | None, dtype: torch.dtype) -> None:
    module, query, key, value, allowed = inputs(1, dtype)
    additive = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(dtype).min).to(dtype)
    mask = {"none": None, "bool": allowed, "additive": additive}[kind]
    got, _ = _attention(module, query, key, value, mask, scaling=scaling)
    expected, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling)
    assert got.shape == (BATCH, 1, HEADS, DIM)
    torch.testing.assert_close(got, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@each_dtype
@pytest.mark.parametrize("queries", [2, 7])
def test_few_queries_equal_the_fused_kernel(queries: int, dtype: torch.dtype) -> None:
    module, query, key, value, allowed = inputs(queries, dtype)
    allowed &= torch.ones(queries, WIDTH, dtype=torch.bool).tril(WIDTH - queries)
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    assert _fits(query, key, mask)
    got, _ = _attention(module, query, key, value, mask)
    expected, _ = sdpa_attention_forward(module, query, key, value, allowed)
    torch.testing.assert_close(got, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_padding_that_sees_nothing_is_a_number() -> None:
    """Others see it with weight 0, which times no number is no number."""
    kind = {"batch_size": BATCH, "q_length": 4, "kv_length": 4, "attention_mask": torch.tensor([[0, 0, 1, 1]] * BATCH)}
    with torch.inference_mode():
        mask = _mask(**(kind | {"attention_mask": kind["attention_mask"].bool()}))
    module, query, key, value, _ = inputs(4)
    got, _ = _attention(module, query, key[:, :, :4], value[:, :, :4], mask)
    assert got.isfinite().all()


def test_causal_and_many_queries_and_training_take_the_fused_kernel() -> None:
    module, query, key, value, mask = inputs(4)
    expected, _ = sdpa_attention_forward(module, query, key, value, mask)
    assert torch.equal(_attention(module, query, key, value, mask)[0], expected)
    causal, _ = sdpa_attention_forward(module, query, key, value, None)
    assert torch.equal(_attention(module, query, key, value, None)[0], causal)
    assert not _fits(inputs(QUERIES + 1)[1], key, torch.zeros(1))
    module, query, key, value, mask = inputs(1)
    query.requires_grad_(True)
    _attention(module, query, key, value, mask)[0].float().sum().backward()
    assert query.grad is not None
