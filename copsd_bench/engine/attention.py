"""Attention of few new tokens on a CPU, where PyTorch's fused kernel is slow and has keys repeated for each query head.

Grouped matrix products do the same work several times faster there (`tests/performance/eval_throughput.py` times the
whole). Everything else goes to the fused kernel as before.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from copsd_bench.engine.packed import multiplies_bf16

NAME = "copsd_cpu_sdpa"
QUERIES = 64
"""Most new tokens a row; from about 100 on the fused kernel is faster."""
CELLS = 1 << 22
"""Most scores (rows x heads x queries x keys) held at once: 16 MiB, of which some copies are alive."""


def use_fast_cpu_attention(model: Any) -> None:
    """Switch a model on a CPU from transformers' `sdpa` to ours; models with another attention keep theirs."""
    fast = model.dtype == torch.float32 or (model.dtype == torch.bfloat16 and multiplies_bf16())
    if fast and model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, _mask)
        model.set_attn_implementation(NAME)


def _mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    """As for `sdpa`; for few queries and without gradients as numbers to add, which every layer does as it scales."""
    mask = sdpa_mask(*args, **kwargs)
    if mask is None or mask.shape[2] > QUERIES or torch.is_grad_enabled():
        return mask
    # Not minus infinity: padding on the left sees nothing, and its softmax would be no number.
    return torch.zeros(mask.shape).masked_fill_(~mask, torch.finfo(torch.float32).min)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention with query [B, H, L, D] and key, value [B, G, T, D]; returns [B, L, H, D] as transformers expects."""
    if not _fits(query, key, attention_mask) or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    batch, heads, queries, dim = query.shape
    groups, keys = key.shape[1:3]
    # Queries and heads of one key/value group become rows of one matrix product; keys are never repeated.
    scores = query.reshape(batch, groups, -1, dim) @ key.transpose(2, 3)
    scores = scores.view(batch, heads, queries, keys)
    scaling = scaling if scaling is not None else dim**-0.5
    if attention_mask is None:
        scores = scores.float() * scaling
    elif attention_mask.dtype == torch.bool:
        scores = (scores.float() * scaling).masked_fill(~attention_mask[..., :keys], -torch.inf)
    else:
        scores = torch.add(attention_mask[..., :keys].float(), scores, alpha=scaling)
    weights = scores.softmax(dim=-1).to(value.dtype).view(batch, groups, -1, keys)
    return (weights @ value).view(batch, heads, queries, dim).transpose(1, 2).contiguous(), None


def _fits(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> bool:
    if query.requires_grad:
        return False
    batch, heads, queries, _ = query.shape
    # Without a mask several queries are causal; one to choose by may leave a query nothing to see (see `_mask`).
    return queries == 1 or (
        queries <= QUERIES
        and batch * heads * queries * key.shape[2] <= CELLS
        and mask is not None
        and mask.is_floating_point()
    )
