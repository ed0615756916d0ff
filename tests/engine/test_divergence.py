"""Divergences equal an enumeration of the vocabulary, whatever the chunks, and what sampled tokens say on average."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from copsd_bench.engine import distributions, states
from copsd_bench.engine import head as head_module
from copsd_bench.engine.context import Context
from copsd_bench.engine.divergence import Divergence, Side, divergences, position_numbers
from copsd_bench.engine.protocol import Intervention, Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.views import using
from copsd_bench.errors import CopsdError
from tests.engine import naive
from tests.engine.tiny import byte_tokenizer, save_tiny

COMPLETIONS = [(5, 6, 7), (8,), (), (1, 2, 3, 4, 5, 6, 7, 8, 9), (100, 3)]
PROMPTS = [tuple((11 * i + j) % 250 for i in range(n)) for j, n in enumerate((9, 1, 20))]
LONGER = [(77, 78, 79, *prompt) for prompt in PROMPTS]
STUDENT, TEACHER = View(adapter="student"), View(adapter="teacher")
NUCLEUS = 0.8


@pytest.fixture(scope="module")
def exact(tiny_llama: Path, tiny_adapters: dict[str, Path]) -> TransformersEngine:
    """Two views of one copy of tiny weights in float64."""
    return TransformersEngine(tiny_llama, tiny_adapters, dtype="float64")


def rows(prompts: Sequence[Sequence[int]]) -> list[Prompt]:
    return [Prompt(ids=tuple(prompt)) for prompt in prompts for _ in COMPLETIONS]


def enumerated(model: Side, reference: Side, completions: Sequence[Sequence[int]]) -> list[Divergence]:
    """The specification: all logits of both sides, one row at a time, and a loop over the vocabulary."""
    found = []
    for i, ids in enumerate(completions):
        logprobs = []
        for side in (model, reference):
            with using(side.engine.model, side.view):  # type: ignore[attr-defined]
                logits = naive.logits_after(side.engine.model, side.prompts[i].ids, ids)  # type: ignore[attr-defined]
            logprobs.append(logits[: len(ids)].log_softmax(-1))
        numbers = [naive.divergence(*(side[t].exp().tolist() for side in logprobs), NUCLEUS) for t in range(len(ids))]
        given = [tuple(side[t, token].item() for t, token in enumerate(ids)) for side in logprobs]
        columns = zip(*numbers, strict=True) if numbers else [()] * 5
        found.append(Divergence(*columns, *given))
    return found


def assert_equal(got: Sequence[Divergence], expected: Sequence[Divergence]) -> None:
    for ours, theirs in zip(got, expected, strict=True):
        for name, values in vars(theirs).items():
            assert getattr(ours, name) == pytest.approx(values, rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("guess", [1, 4, 7])
@pytest.mark.parametrize("nucleus", [0.3, 0.9, 1.0])
def test_position_numbers_equal_an_enumeration(monkeypatch: pytest.MonkeyPatch, guess: int, nucleus: float) -> None:
    """Also where tokens are impossible on one side or on both, and whether or not the nucleus is guessed too small."""
    monkeypatch.setattr(distributions, "NUCLEUS_GUESS", guess)
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn((2, 20, 7), generator=generator, dtype=torch.float64)
    logits[:, 5:10, 2] = -torch.inf  # impossible for both
    logits[0, 10:, 3] = -torch.inf  # possible for the reference alone: KL(reference || model) is infinite
    ours, theirs = logits.log_softmax(-1)
    numbers = position_numbers(ours, theirs, torch.zeros(20, dtype=torch.long), nucleus)
    for t, got in enumerate(torch.stack(numbers[:5], dim=1).tolist()):
        expected = naive.divergence(ours[t].exp().tolist(), theirs[t].exp().tolist(), nucleus)
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-12)
        assert math.isinf(got[1]) == (t >= 10)


@pytest.mark.parametrize(("tokens", "cells"), [(1, 1), (24, 700), (2048, 1 << 23)])
def test_chunks_equal_full_logits_in_float64(
    exact: TransformersEngine, monkeypatch: pytest.MonkeyPatch, tokens: int, cells: int
) -> None:
    monkeypatch.setattr(states, "STATE_TOKENS", tokens)
    monkeypatch.setattr(head_module, "CELLS", cells)
    steered = View(adapter="teacher", intervention=Intervention("add", 1, torch.linspace(-1, 1, 32), 3.0))
    model, reference = Side(exact, STUDENT, rows(PROMPTS)), Side(exact, steered, rows(LONGER))
    completions = COMPLETIONS * len(PROMPTS)
    assert_equal(divergences(model, reference, completions, NUCLEUS), enumerated(model, reference, completions))


def test_two_engines_equal_two_views_of_one(
    exact: TransformersEngine, tiny_llama: Path, tiny_adapters: dict[str, Path]
) -> None:
    alone = TransformersEngine(tiny_llama, {"teacher": tiny_adapters["teacher"]}, dtype="float64")
    model = Side(exact, STUDENT, rows(PROMPTS))
    completions = COMPLETIONS * len(PROMPTS)
    one, two = (divergences(model, Side(e, TEACHER, rows(LONGER)), completions) for e in (exact, alone))
    assert_equal(one, two)


def test_a_side_against_itself_diverges_nowhere(tiny_engine: TransformersEngine) -> None:
    side = Side(tiny_engine, STUDENT, rows(PROMPTS))
    for found in divergences(side, side, COMPLETIONS * len(PROMPTS), NUCLEUS):
        assert set(found.kl_model_reference) | set(found.kl_reference_model) <= {0.0}
        assert found.entropy == found.reference_entropy
        assert found.logprobs == found.reference_logprobs
        assert all(mass <= 1 - NUCLEUS + 1e-6 for mass in found.dropped_mass)


def test_a_capped_head_goes_the_same_way(tmp_path: Path) -> None:
    """Gemma's logits cannot be held back as states."""
    engine = TransformersEngine(save_tiny(tmp_path, "gemma2", sliding_window=8, final_logit_softcapping=5.0))
    assert not engine.head.separate
    sides = Side(engine, View(), rows(PROMPTS)), Side(engine, View(), rows(LONGER))
    got = divergences(*sides, COMPLETIONS * len(PROMPTS), NUCLEUS)
    for ours, theirs in zip(got, enumerated(*sides, COMPLETIONS * len(PROMPTS)), strict=True):
        for name, values in vars(theirs).items():
            assert getattr(ours, name) == pytest.approx(values, abs=1e-4), name


@pytest.mark.parametrize("on", ["model", "reference"])
def test_sampled_tokens_agree_on_average_on_the_real_model(smollm2_engine: TransformersEngine, on: str) -> None:
    """E[log P(y) - log Q(y)] with y from P is KL(P || Q): the mean difference is 0 within its standard error."""
    engine, question = smollm2_engine, [{"role": "user", "content": "Tell me about rivers."}]
    context = Context("brief", "You answer in one short sentence.", "system")
    prompts = {"model": engine.encode(question), "reference": engine.encode(question, context)}
    count = 40
    drawn = engine.generate(View(), [prompts[on]] * count, Sampling(max_tokens=4, temperature=1.0), seeds=range(count))
    sides = [Side(engine, View(), [prompts[name]] * count) for name in ("model", "reference")]
    found = divergences(*sides, [completion.ids for completion in drawn])
    excess = []
    for one in found:
        exact, own, other = one.kl_model_reference, one.logprobs, one.reference_logprobs
        if on == "reference":
            exact, own, other = one.kl_reference_model, other, own
        excess.append(sum(own) - sum(other) - sum(exact))
    error = torch.tensor(excess)
    assert sum(sum(one.kl_model_reference) for one in found) > 0.05 * count  # there is something to agree on
    assert abs(error.mean()) < 3 * error.std() / count**0.5


def other_engine(folder: Path, kind: str) -> TransformersEngine:
    save_tiny(folder, **({"vocab_size": 320} if kind == "size" else {}))
    if kind == "tokens":
        tokenizer = byte_tokenizer()
        tokenizer.add_tokens(["<new>"])
        tokenizer.save_pretrained(folder)
    engine = TransformersEngine(folder)
    if kind == "eos":
        engine.eos_ids = frozenset({3})
    return engine


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("size", "300 and 320 tokens"),
        ("tokens", "'<new>' has the id None in one and 259"),
        ("eos", r"\[257\] and \[3\]"),
    ],
)
def test_another_vocabulary_is_refused(tiny_engine: TransformersEngine, tmp_path: Path, kind: str, named: str) -> None:
    prompts = [Prompt(ids=(1, 2))]
    with pytest.raises(CopsdError, match=named):
        divergences(Side(tiny_engine, View(), prompts), Side(other_engine(tmp_path, kind), View(), prompts), [(3,)])


def test_what_cannot_be_measured_is_refused(tiny_engine: TransformersEngine) -> None:
    short, long = (Side(tiny_engine, View(), [Prompt(ids=(1,) * n)]) for n in (100, 101))
    with pytest.raises(CopsdError, match="context window of 128"):
        divergences(short, long, [(2,) * 28])
    with pytest.raises(CopsdError, match=r"nucleus of 1\.5"):
        divergences(short, short, [(2,)], nucleus=1.5)
    with pytest.raises(CopsdError, match="engine 'transformers'"):
        divergences(short, Side(object(), View(), short.prompts), [(2,)])  # type: ignore[arg-type]
