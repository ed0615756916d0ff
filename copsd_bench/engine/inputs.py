"""What rows with images need in a forward pass beside ids and mask: pixels, and positions where images have their own.

Models of the Qwen-VL family place the patches of an image on a grid (M-RoPE, arXiv 2409.12191): height and width have a
position each, and text goes on after the larger of the two. So a row's next position is not its length, and positions
are given in full to every forward pass instead of trusting the state that transformers keeps in the model.
"""

from collections.abc import Sequence
from typing import Any

import torch

from copsd_bench.engine.images import PER_TOKEN
from copsd_bench.engine.protocol import Prompt


def extra_inputs(
    prompts: Sequence[Prompt], model: Any, lengths: Sequence[int], left: bool = False
) -> dict[str, torch.Tensor]:
    """Arguments of a forward pass over rows that begin with prompts; empty if none has an image.

    Args:
        prompts: of B rows.
        model: causal or vision-language, with or without a PEFT wrapper.
        lengths: tokens of each row; those after its prompt are text.
        left: pad on the left, else on the right.

    Returns:
        Processor outputs of all rows (floating ones in the model's dtype) and, for models that place images on a grid,
        `position_ids` [3, B, T].
    """
    if not any(prompt.features for prompt in prompts):
        return {}
    width = max(lengths)
    keys = sorted({key for prompt in prompts for key in prompt.features})
    merged = {
        key: _image_tokens(prompts, model, lengths, width, left)
        if key in PER_TOKEN
        else _stacked([prompt.features[key] for prompt in prompts if key in prompt.features])
        for key in keys
    }
    inputs = {k: v.to(model.device, model.dtype if v.is_floating_point() else None) for k, v in merged.items()}
    if _grid(model) is not None:
        rows = [
            _padded(grid_positions(prompt, model, length), width, left)
            for prompt, length in zip(prompts, lengths, strict=True)
        ]
        inputs["position_ids"] = torch.stack(rows, dim=1).to(model.device)
    return inputs


def grid_positions(prompt: Prompt, model: Any, length: int) -> torch.Tensor:
    """Positions [3, length] (time, height, width) of a row's tokens: its prompt's, then one after the other."""
    grid = _grid(model)
    if not prompt.features or grid is None:
        return torch.arange(length).expand(3, -1)
    ids = torch.tensor([prompt.ids])
    images = (ids == model.config.image_token_id).int()
    found = grid(input_ids=ids, mm_token_type_ids=images, image_grid_thw=prompt.features["image_grid_thw"])[0][:, 0]
    further = found.max() + 1 + torch.arange(length - len(prompt.ids))
    return torch.cat([found, further.expand(3, -1)], dim=1)


def next_positions(prompts: Sequence[Prompt], model: Any) -> torch.Tensor:
    """The position that follows each prompt, [B]: its length, unless images have their own."""
    lengths = [len(prompt.ids) for prompt in prompts]
    return torch.tensor(
        [int(grid_positions(p, model, n).max()) + 1 if p.features else n for p, n in zip(prompts, lengths, strict=True)]
    )


def _grid(model: Any) -> Any:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return getattr(inner.base_model, "get_rope_index", None)


def _stacked(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Joined along the first dimension; the others padded with zeros on the right (tiles of images that have fewer)."""
    shape = [max(sizes) for sizes in zip(*(t.shape[1:] for t in tensors), strict=True)]
    fitted = []
    for tensor in tensors:
        missing = [most - size for most, size in zip(shape, tensor.shape[1:], strict=True)]
        fitted.append(torch.nn.functional.pad(tensor, [n for m in reversed(missing) for n in (0, m)]))
    return torch.cat(fitted)


def _image_tokens(
    prompts: Sequence[Prompt], model: Any, lengths: Sequence[int], width: int, left: bool
) -> torch.Tensor:
    """1 at tokens that stand for pixels, [B, T]."""
    rows = []
    for prompt, length in zip(prompts, lengths, strict=True):
        row = torch.zeros(1, length, dtype=torch.long)
        row[0, : len(prompt.ids)] = torch.tensor(prompt.ids) == model.config.image_token_id
        rows.append(_padded(row, width, left))
    return torch.cat(rows)


def _padded(row: torch.Tensor, width: int, left: bool) -> torch.Tensor:
    missing = width - row.shape[1]
    return torch.nn.functional.pad(row, (missing, 0) if left else (0, missing))
