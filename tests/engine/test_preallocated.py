"""A cache written in place answers as one that is copied, through selecting, joining and growing."""

import pytest
import torch

from copsd_bench.engine.kv import KvBatch, prefill
from copsd_bench.engine.preallocated import COLUMNS, PreallocatedLayer, preallocate
from copsd_bench.engine.protocol import Prompt
from copsd_bench.engine.transformers_engine import TransformersEngine

PROMPTS = [Prompt(ids=tuple(range(1, n))) for n in (4, 19, 11)]
LATE = [Prompt(ids=tuple(range(40, n))) for n in (46, 70)]
WIDE = [Prompt(ids=tuple(range(40, n))) for n in (46, 110)]
"""One of them is longer than the rows they join have become."""


@torch.inference_mode()
def states(engine: TransformersEngine, in_place: bool, late: list[Prompt]) -> tuple[list[torch.Tensor], KvBatch]:
    """Of steps before and after rows leave (twice, and the longest) and others join."""
    batch, _ = prefill(engine.head, PROMPTS)
    if in_place:
        preallocate(batch.cache)
    found = []
    for rows, steps in ((3, COLUMNS + 2), (2, 3), (4, COLUMNS)):
        if rows == 2:
            batch.select(torch.tensor([2, 0]))
        if rows == 4:
            batch.join(prefill(engine.head, late)[0])
        for step in range(steps):
            found.append(batch.step(engine.head, torch.arange(rows).unsqueeze(1) + step))
    return found, batch


@pytest.mark.parametrize("late", [LATE, WIDE])
def test_states_are_those_of_a_cache_that_is_copied(tiny_engine: TransformersEngine, late: list[Prompt]) -> None:
    assert tiny_engine.cache_use.preallocates
    expected, copied = states(tiny_engine, in_place=False, late=late)
    got, written = states(tiny_engine, in_place=True, late=late)
    for one, other in zip(expected, got, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert torch.equal(copied.mask, written.mask)
    for one, other in zip(copied.cache.layers, written.cache.layers, strict=True):
        assert isinstance(other, PreallocatedLayer)
        assert one.keys.shape == other.keys.shape
        assert other.get_seq_length() == one.get_seq_length()
        real = copied.mask.bool()[:, None, :, None].expand(one.keys.shape)
        torch.testing.assert_close(one.keys[real], other.keys[real], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.values[real], other.values[real], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_step_copies_nothing_until_the_room_is_used_up(tiny_engine: TransformersEngine) -> None:
    batch, _ = prefill(tiny_engine.head, PROMPTS)
    preallocate(batch.cache)
    layer = batch.cache.layers[0]
    places = []
    for _ in range(COLUMNS + 1):
        batch.step(tiny_engine.head, torch.ones((3, 1), dtype=torch.long))
        places.append(layer.keys.data_ptr())
    assert len(set(places)) == 2
