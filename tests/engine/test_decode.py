"""Decoding: what a row gets depends on its prompt, its settings and its seed, and on no other row."""

import itertools
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from copsd_bench.engine.decode import Row
from copsd_bench.engine.protocol import Completion, Prompt, Sampling, View
from copsd_bench.engine.sample import RowStream
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from tests.engine import naive

QUESTIONS = [
    "Hello!",
    "Name three fruits.",
    "What is the capital of France? Answer with one word.",
    "Explain in two sentences why the sky is blue, to a child of six who likes birds.",
    "2+2=",
    "Write a haiku.",
]


def chat(engine: TransformersEngine, question: str) -> Prompt:
    return engine.encode([{"role": "user", "content": question}])


@pytest.fixture(scope="module")
def greedy(smollm2_engine: TransformersEngine) -> list[Completion]:
    prompts = [chat(smollm2_engine, question) for question in QUESTIONS]
    return smollm2_engine.generate(View(), prompts, Sampling(max_tokens=24))


def test_greedy_equals_transformers_generate_of_each_prompt_alone(
    smollm2_engine: TransformersEngine, greedy: list[Completion]
) -> None:
    import torch

    for question, completion in zip(QUESTIONS, greedy, strict=True):
        ids = torch.tensor([chat(smollm2_engine, question).ids])
        settings = {"max_new_tokens": 24, "do_sample": False}
        expected = smollm2_engine.model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
        assert list(completion.ids) == expected[0, ids.shape[1] :].tolist()


def test_stop_reason_tells_the_end_of_sequence_from_the_limit(
    smollm2_engine: TransformersEngine, greedy: list[Completion]
) -> None:
    for completion in greedy:
        ended = completion.ids[-1] in smollm2_engine.eos_ids
        assert completion.stop_reason == ("stop" if ended else "max_tokens")
        assert not set(completion.ids[:-1]) & smollm2_engine.eos_ids
        assert ended or len(completion.ids) == 24
        assert len(completion.logprobs) == len(completion.entropies) == len(completion.ids)
        assert completion.text == smollm2_engine.tokenizer.decode(completion.ids, skip_special_tokens=True)
    assert {completion.stop_reason for completion in greedy} == {"stop", "max_tokens"}


def test_a_row_does_not_depend_on_the_others(smollm2_engine: TransformersEngine) -> None:
    """Four places for six rows: some join late. Any order, and alone, gives the same tokens."""
    prompts = [chat(smollm2_engine, question) for question in QUESTIONS]
    sampling = Sampling(max_tokens=12, temperature=1.0, top_p=0.95)
    together = smollm2_engine.generate(View(), prompts, sampling, seeds=range(6))
    order = random.Random(1).sample(range(6), 6)
    shuffled = smollm2_engine.generate(View(), [prompts[i] for i in order], sampling, seeds=order)
    assert [completion.ids for completion in shuffled] == [together[i].ids for i in order]
    for i in (0, 3):
        assert smollm2_engine.generate(View(), [prompts[i]], sampling, seeds=[i])[0].ids == together[i].ids


@pytest.mark.parametrize("later", [1, 3, 9])
def test_longer_prompts_that_come_later_change_nothing(tiny_engine: TransformersEngine, later: int) -> None:
    """As in an evaluation, where each finished answer makes room for a prompt of any length."""
    prompts = [Prompt(ids=tuple(range(3, 3 + length))) for length in (6, 9, 30, 47)]
    sampling = Sampling(max_tokens=24)
    expected = [tiny_engine.generate(View(), [prompt], sampling)[0] for prompt in prompts]
    found: dict[int, Completion] = {}
    rows = [Row(prompt, sampling, RowStream(0), partial(found.__setitem__, i)) for i, prompt in enumerate(prompts)]
    arrivals = {0: rows[:2], later: rows[2:]}
    asked = itertools.count()
    tiny_engine.decode(View(), lambda free: arrivals.pop(next(asked), []))
    assert not arrivals
    for i, completion in enumerate(expected):
        assert found[i].ids == completion.ids
        assert found[i].logprobs == pytest.approx(completion.logprobs, abs=1e-4)


def test_another_seed_gives_another_answer(smollm2_engine: TransformersEngine) -> None:
    prompt = chat(smollm2_engine, "Write a haiku.")
    answers = smollm2_engine.generate(View(), [prompt] * 4, Sampling(max_tokens=8, temperature=1.0), seeds=range(4))
    assert len({answer.ids for answer in answers}) > 1


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_tokens_do_not_depend_on_the_batch_size(tiny_engine: TransformersEngine, batch_size: int) -> None:
    prompts = [Prompt(ids=tuple((i * 37 + j) % 250 for j in range(1 + 5 * i % 17))) for i in range(11)]
    limits = [3 + 7 * i % 11 for i in range(11)]

    def answers() -> list[tuple[int, ...]]:
        found = []
        for limit in sorted(set(limits)):
            chosen = [i for i in range(11) if limits[i] == limit]
            sampling = Sampling(max_tokens=limit, temperature=0.7)
            found += [c.ids for c in tiny_engine.generate(View(), [prompts[i] for i in chosen], sampling, seeds=chosen)]
        return found

    expected, before = answers(), tiny_engine.batch_size
    tiny_engine.batch_size = batch_size
    try:
        assert answers() == expected
    finally:
        tiny_engine.batch_size = before


def test_greedy_of_every_view_equals_the_naive_loop(tiny_engine: TransformersEngine) -> None:
    from copsd_bench.engine.views import using

    prompts = [tuple(range(n)) for n in (3, 17, 1, 8, 8, 30)]
    for view in (View(), View(adapter="student"), View(adapter="teacher")):
        got = tiny_engine.generate(view, [Prompt(ids=ids) for ids in prompts], Sampling(max_tokens=10))
        with using(tiny_engine.model, view):
            expected = [naive.greedy(tiny_engine.model, ids, 10, tiny_engine.eos_ids) for ids in prompts]
        assert [list(completion.ids) for completion in got] == expected


def test_a_repeated_prompt_is_prefilled_once(tiny_engine: TransformersEngine) -> None:
    shapes: list[Any] = []
    hook = tiny_engine.model.get_base_model().base_model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    prompt = Prompt(ids=tuple(range(20)))
    try:
        sampling = Sampling(max_tokens=4, temperature=1.0)
        several = tiny_engine.generate(View(), [prompt] * 4, sampling, seeds=range(4))
    finally:
        hook.remove()
    assert [shape for shape in shapes if shape[1] > 1] == [(1, 20)]
    alone = [tiny_engine.generate(View(), [prompt], sampling, seeds=[seed])[0].ids for seed in range(4)]
    assert [completion.ids for completion in several] == alone


def test_rows_are_handed_over_as_they_finish(tiny_engine: TransformersEngine) -> None:
    prompts = [Prompt(ids=tuple(range(10 + n))) for n in range(3)]
    seen: list[int] = []
    results = tiny_engine.generate(
        View(), prompts, Sampling(max_tokens=3), on_complete=lambda i, completion: seen.append(i)
    )
    assert sorted(seen) == [0, 1, 2]
    assert len(results) == 3


def test_no_prompts_give_no_completions(tiny_engine: TransformersEngine) -> None:
    assert tiny_engine.generate(View(), [], Sampling()) == []
    assert tiny_engine.score(View(), [], []) == []


def test_a_stop_string_ends_the_answer_and_is_cut(smollm2_engine: TransformersEngine, greedy: list[Completion]) -> None:
    long = max(range(len(greedy)), key=lambda i: len(greedy[i].ids))
    text = greedy[long].text
    stop = text[len(text) // 2 : len(text) // 2 + 3]
    prompt = chat(smollm2_engine, QUESTIONS[long])
    cut = smollm2_engine.generate(View(), [prompt], Sampling(max_tokens=24, stop=("never seen", stop)))[0]
    assert cut.stop_reason == "stop"
    assert cut.text == text[: text.index(stop)]
    # The ids end with the token that completed the string: they are what was sampled, and what is counted.
    assert cut.ids == greedy[long].ids[: len(cut.ids)]
    assert stop in smollm2_engine.tokenizer.decode(cut.ids)
    assert stop not in smollm2_engine.tokenizer.decode(cut.ids[:-1])


def test_the_context_window_ends_an_answer_exactly(tiny_engine: TransformersEngine) -> None:
    """Rows that are full wait in the batch while others go on; no position beyond the window is ever asked for."""
    lengths = [127, 126, 120, 100, 100]
    prompts = [Prompt(ids=tuple(i % 250 for i in range(length))) for length in lengths]
    completions = tiny_engine.generate(View(), prompts, Sampling(max_tokens=500))
    assert_full(tiny_engine, lengths, completions)


def test_learned_positions_end_with_the_window(tmp_path: Any) -> None:
    from tests.engine.tiny import save_tiny

    folder = save_tiny(tmp_path, "gpt2", n_positions=128, n_embd=32, n_layer=2, n_head=4)
    engine = TransformersEngine(folder, batch_size=32)
    lengths = [127, 126, 90]
    prompts = [Prompt(ids=tuple(i % 250 for i in range(length))) for length in lengths]
    assert_full(engine, lengths, engine.generate(View(), prompts, Sampling(max_tokens=500)))


def assert_full(engine: TransformersEngine, lengths: Sequence[int], completions: Sequence[Completion]) -> None:
    for length, completion in zip(lengths, completions, strict=True):
        if completion.stop_reason == "model_length":
            assert length + len(completion.ids) == 128
        else:
            assert completion.ids[-1] in engine.eos_ids
    assert completions[0].stop_reason == "model_length"


def test_sampling_without_seeds_is_refused(tiny_engine: TransformersEngine) -> None:
    with pytest.raises(CopsdError, match="one seed a prompt"):
        tiny_engine.generate(View(), [Prompt(ids=(1,))], Sampling(temperature=1.0))
