"""Distances between texts in the space of an encoder, for diversity of meaning rather than of words."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 32


def embedder_id(model: str) -> str:
    """Name and weights digest of an encoder, for records.

    Raises:
        CopsdError: it cannot be found (see `resolve_model`).
    """
    from copsd_bench.models.resolve import resolve_model

    return f"{model}@{resolve_model(model).weights_digest[:12]}"


def distances(texts: Sequence[str], model: str) -> list[float]:
    """Mean cosine distance of each text to the others, in [0, 2].

    Args:
        texts: at least two.
        model: an encoder: a local folder or a hub id.
    """
    return mean_distances(embeddings(texts, model))


def mean_distances(vectors: NDArray[np.float64]) -> list[float]:
    """Mean cosine distance of each row of [N, D] to the other rows."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    others = (cosines.sum(axis=1) - np.diag(cosines)) / (len(vectors) - 1)
    return [float(1 - cosine) for cosine in others]


def embeddings(texts: Sequence[str], model: str) -> NDArray[np.float64]:
    """Mean of the last hidden states over a text's tokens, [N, D]."""
    import torch

    tokenizer, encoder = _load(model)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            # An empty text still needs a token to have a vector.
            batch = [text or " " for text in texts[start : start + BATCH]]
            encoded = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
            states = encoder(**encoded).last_hidden_state.float()
            mask = encoded["attention_mask"].unsqueeze(-1)
            rows.append((states * mask).sum(dim=1) / mask.sum(dim=1))
    found: NDArray[np.float64] = torch.cat(rows).double().numpy()
    return found


@cache
def _load(model: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    from copsd_bench.models.resolve import resolve_model

    path = resolve_model(model).path
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer, AutoModel.from_pretrained(path, local_files_only=True).eval()
