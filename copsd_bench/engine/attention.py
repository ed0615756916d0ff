"""Attention of one new token on a CPU in bf16, where PyTorch's fused kernel is slow.

Grouped matrix products do the same work several times faster there (`tests/performance/eval_throughput.py` times the
whole). Everything else goes to the fused kernel as before.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "copsd_cpu_sdpa"


def use_fast_cpu_attention(model: Any) -> None:
    """Switch a CPU bf16 model from transformers' `sdpa` to ours; models with another attention keep theirs."""
    if model.device.type == "cpu" and model.dtype == torch.bfloat16 and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


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
    if query.shape[2] != 1 or query.requires_grad:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    batch, heads, _, dim = query.shape
    groups = key.shape[1]
    # Query heads of one key/value group become rows of one matrix product; keys are never repeated.
    scores = query.view(batch, groups, heads // groups, dim) @ key.transpose(2, 3)
    scores = scores.float() * (scaling if scaling is not None else dim**-0.5)
    if attention_mask is not None:
        mask = attention_mask[..., : key.shape[2]]
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    output = scores.softmax(dim=-1).to(value.dtype) @ value
    return output.view(batch, 1, heads, dim), None
