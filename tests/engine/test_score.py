"""`score` equals a naive full forward pass of each row, and the log-probs the engine reports while sampling."""

from pathlib import Path

import pytest
import torch

from copsd_bench.engine import head as head_module
from copsd_bench.engine import kv
from copsd_bench.engine import states as states_module
from copsd_bench.engine.protocol import Intervention, Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.views import using
from copsd_bench.errors import CopsdError
from tests.engine import naive
from tests.engine.tiny import save_tiny

PROMPTS = [tuple((11 * i + j) % 250 for i in range(n)) for j, n in enumerate((9, 1, 20, 4))]
COMPLETIONS = [(5, 6, 7), (8,), (), (1, 2, 3, 4, 5, 6, 7, 8, 9), (100,)]
ROWS = [(p, c) for p in PROMPTS for c in COMPLETIONS]


def assert_equals_naive(engine: TransformersEngine, view: View) -> None:
    prompts = [Prompt(ids=p) for p, _ in ROWS]
    got = engine.score(view, prompts, [c for _, c in ROWS], entropy=True)
    for scores, (prompt, completion) in zip(got, ROWS, strict=True):
        with using(engine.model, view):
            logprobs, greedy, entropies = naive.score(engine.model, prompt, completion)
        assert scores.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert scores.entropies == pytest.approx(entropies, abs=1e-4)
        assert list(scores.is_greedy) == greedy


STEER = Intervention("add", layer=1, vector=torch.linspace(-1, 1, 32), scale=3.0)


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View(adapter="student"),
        View(adapter="teacher"),
        View(intervention=STEER),
        View(adapter="teacher", intervention=Intervention("ablate", layer=0, vector=torch.ones(32))),
    ],
    ids=["base", "student", "teacher", "steered", "teacher ablated"],
)
def test_shared_prompts_and_mixed_lengths_equal_the_full_forward(tiny_engine: TransformersEngine, view: View) -> None:
    assert_equals_naive(tiny_engine, view)


@pytest.mark.parametrize(("tokens", "cells"), [(1, 1), (24, 512), (2048, 1 << 22)])
def test_batches_and_chunks_do_not_change_scores(
    tiny_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, tokens: int, cells: int
) -> None:
    monkeypatch.setattr(states_module, "STATE_TOKENS", tokens)
    monkeypatch.setattr(head_module, "CELLS", cells)
    assert_equals_naive(tiny_engine, View(adapter="student"))


def test_many_completions_of_a_long_prompt_are_split(
    tiny_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states_module, "CACHE_TOKENS", 100)
    prompt = Prompt(ids=tuple(range(40)))
    batches = list(states_module.batches([(1, 2)] * 6, (tiny_engine.head, [prompt] * 6)))
    assert [len(batch) for batch in batches] == [2, 2, 2]


def test_a_batch_ends_where_a_longer_prompt_would_pad_it_much(
    tiny_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [Prompt(ids=(i, *range(n))) for i, n in enumerate((9, 9, 9, 10, 29, 29))]
    for padding, sizes in ((3, [4, 2]), (2, [3, 1, 2]), (2048, [6])):
        monkeypatch.setattr(kv, "PADDING", padding)
        batches = list(states_module.batches([(1,)] * 6, (tiny_engine.head, prompts)))
        assert [len(batch) for batch in batches] == sizes


def test_a_prompt_under_many_completions_is_not_kept_for_each(tiny_engine: TransformersEngine) -> None:
    head = tiny_engine.head
    with torch.inference_mode():
        batch, _ = kv.prefill(head, [Prompt(ids=tuple(range(20))), Prompt(ids=tuple(range(5, 15)))])
        rows, ids = torch.tensor([1, 0, 1, 1]), torch.tensor([[3, 4], [5, 6], [3, 4], [7, 8]])
        kept, dropped = batch.twin(), kv.repeated(batch, rows)
        kept.select(rows)
        states = [
            head.states(
                input_ids=ids,
                attention_mask=torch.nn.functional.pad(own.mask, (0, 2), value=1),
                position_ids=own.after.unsqueeze(1) + torch.arange(2),
                past_key_values=own.cache,
            )
            for own in (kept, dropped)
        ]
    assert torch.equal(*states)
    assert [len(layer.keys) for layer in dropped.cache.layers] == [2] * len(batch.cache.layers)


def test_the_views_differ(tiny_engine: TransformersEngine) -> None:
    """Else the tests above would pass with the adapter ignored."""
    views = [View(), View(adapter="student"), View(adapter="teacher"), View(intervention=STEER)]
    scores = [tiny_engine.score(view, [Prompt(ids=PROMPTS[0])], [COMPLETIONS[0]])[0].logprobs[0] for view in views]
    assert len({round(score, 2) for score in scores}) == len(views)


def test_the_real_model_equals_the_full_forward_and_its_own_sampling(smollm2_engine: TransformersEngine) -> None:
    engine = smollm2_engine
    questions = ["Name a colour.", "Write a short poem about the sea and the people who live from it.", "2+2?"]
    prompts = [engine.encode([{"role": "user", "content": question}]) for question in questions]
    rows = [prompt for prompt in prompts for _ in range(2)]
    sampled = engine.generate(View(), rows, Sampling(max_tokens=12, temperature=1.0), seeds=range(len(rows)))
    scores = engine.score(View(), rows, [completion.ids for completion in sampled], entropy=True)
    for prompt, completion, scored in zip(rows, sampled, scores, strict=True):
        logprobs, greedy, entropies = naive.score(engine.model, prompt.ids, completion.ids)
        assert scored.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert list(scored.is_greedy) == greedy
        assert completion.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert completion.entropies == pytest.approx(entropies, abs=1e-4)


def test_a_row_beyond_the_window_is_refused(tiny_engine: TransformersEngine) -> None:
    prompt, completion = Prompt(ids=(1,) * 100), (2,) * 28
    assert len(tiny_engine.score(View(), [prompt], [completion])[0].logprobs) == 28
    with pytest.raises(CopsdError, match="context window of 128"):
        tiny_engine.score(View(), [prompt], [(2,) * 29])


def test_padding_asks_for_no_position_beyond_the_window(tmp_path: Path) -> None:
    """A long prompt with a short completion shares its batch with the opposite."""
    engine = TransformersEngine(save_tiny(tmp_path, "gpt2", n_positions=128, n_embd=32, n_layer=2, n_head=4))
    rows = [(tuple(range(120)), (5, 6)), (tuple(range(8)), tuple(range(120)))]
    got = engine.score(View(), [Prompt(ids=prompt) for prompt, _ in rows], [completion for _, completion in rows])
    for scores, (prompt, completion) in zip(got, rows, strict=True):
        assert scores.logprobs == pytest.approx(naive.score(engine.model, prompt, completion)[0], abs=1e-4)
