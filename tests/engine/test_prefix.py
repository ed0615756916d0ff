"""A beginning that prompts share goes through the model once, and changes nothing else."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from copsd_bench.engine.kv import prefill
from copsd_bench.engine.prefix import WORTH, Prefixes
from copsd_bench.engine.protocol import Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine

START = tuple(range(20, 40))
PROMPTS = [Prompt(ids=START + rest) for rest in [(50,), (60, 61, 62, 63), (70, 71), (50, 51, 52, 53, 54, 55)]]


def tokens_read(engine: TransformersEngine, run: Callable[[], object]) -> int:
    """Positions, padding included, that went through the model."""
    seen = 0

    def count(module: torch.nn.Module, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        nonlocal seen
        seen += kwargs["input_ids"].numel()

    hook = engine.model.get_base_model().base_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    return seen


@torch.inference_mode()
def test_rows_on_a_shared_beginning_are_the_rows_prefilled_whole(tiny_engine: TransformersEngine) -> None:
    whole, expected = prefill(tiny_engine.head, PROMPTS)
    prefixes = Prefixes(tiny_engine.head, joins=True)
    length = prefixes.length(PROMPTS)
    assert length == len(START)
    batch, states = prefixes.prefill(PROMPTS, length)
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    assert batch.mask.tolist() == whole.mask.tolist()
    next_tokens = torch.tensor([[5], [6], [7], [8]])
    for part in (batch, whole):
        part.select(torch.tensor([2, 0]))  # the longest rows leave: padding is cut
    continued = [part.step(tiny_engine.head, next_tokens[:2]) for part in (batch, whole)]
    torch.testing.assert_close(continued[0], continued[1], atol=1e-5, rtol=1e-5)


def test_the_shared_beginning_goes_through_the_model_once(tiny_engine: TransformersEngine) -> None:
    for repeat in (1, 3):
        read = tokens_read(tiny_engine, partial(tiny_engine.generate, View(), PROMPTS * repeat, Sampling(max_tokens=1)))
        assert read == len(START) + len(PROMPTS) * 6


def test_scoring_reads_what_is_shared_once(tiny_engine: TransformersEngine) -> None:
    """Options of one token, as of most multiple choice, need no pass of their own; longer ones all but their last."""
    rows = [prompt for prompt in PROMPTS for _ in range(3)]
    for options, further in (([(1,), (2,), (3,)], 0), ([(1, 2, 3), (4, 5, 6), (7, 8, 9)], 2 * len(rows))):
        read = tokens_read(tiny_engine, partial(tiny_engine.score, View(), rows, options * len(PROMPTS)))
        assert read == len(START) + len(PROMPTS) * 6 + further


def test_later_prompts_use_the_beginning_computed_before(tiny_engine: TransformersEngine) -> None:
    prefixes = Prefixes(tiny_engine.head, joins=True)
    assert prefixes.length(PROMPTS[:1]) == 0  # nothing known, nobody to share with
    prefixes.prefill(PROMPTS, prefixes.length(PROMPTS))
    assert prefixes.length([Prompt(ids=(*START, 99))]) == len(START)
    assert prefixes.length([Prompt(ids=(1, *START, 99))]) == 0


@pytest.mark.parametrize("length", [0, 1, WORTH - 1])
def test_little_in_common_is_not_worth_a_pass_of_its_own(tiny_engine: TransformersEngine, length: int) -> None:
    prompts = [Prompt(ids=(*START[:length], token, 9, 9)) for token in (1, 2, 3)]
    assert Prefixes(tiny_engine.head, joins=True).length(prompts) == 0


def test_a_prompt_that_is_all_beginning_keeps_its_last_token(tiny_engine: TransformersEngine) -> None:
    prompts = [Prompt(ids=START), PROMPTS[0]]
    assert Prefixes(tiny_engine.head, joins=True).length(prompts) == len(START) - 1
    alone = [tiny_engine.generate(View(), [prompt], Sampling(max_tokens=5))[0].ids for prompt in prompts]
    assert [c.ids for c in tiny_engine.generate(View(), prompts, Sampling(max_tokens=5))] == alone
