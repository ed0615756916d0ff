"""What the protocol promises, on a real vLLM engine; the transformers engine says what is right."""

import threading
import time
from dataclasses import replace
from statistics import fmean

import psutil
import pytest
import torch

from copsd_bench.engine.context import Context
from copsd_bench.engine.protocol import Completion, Intervention, Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.vllm_engine import VllmEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from tests.vllm.conftest import WINDOW, save_adapter

GREEDY = Sampling(max_tokens=48)
SAMPLED = Sampling(max_tokens=24, temperature=1.3, top_p=0.9)


def same_tokens(ours: list[Completion], theirs: list[Completion]) -> float:
    """Share of completions with identical token ids."""
    return fmean(a.ids == b.ids for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def alone(engine: VllmEngine, prompts: list[Prompt]) -> dict[str | None, list[Completion]]:
    """Greedy answers by adapter, each from batches of its own."""
    return {adapter: engine.generate(View(adapter), prompts, GREEDY) for adapter in (None, "first", "second")}


@pytest.fixture(scope="module")
def greedy(alone: dict[str | None, list[Completion]]) -> list[Completion]:
    return alone[None]


@pytest.mark.parametrize("adapter", [None, "first", "second"])
def test_greedy_answers_agree_with_transformers(
    alone: dict[str | None, list[Completion]],
    reference: TransformersEngine,
    prompts: list[Prompt],
    adapter: str | None,
) -> None:
    """Up to numerical ties, which in float32 hardly occur."""
    ours = alone[adapter]
    theirs = reference.generate(View(adapter), prompts, GREEDY)
    agreement = same_tokens(ours, theirs)
    print(f"adapter {adapter}: {agreement:.0%} of {len(prompts)} greedy answers identical")
    assert agreement >= 0.9
    for a, b in zip(ours, theirs, strict=True):
        if a.ids == b.ids:
            assert (a.text, a.stop_reason) == (b.text, b.stop_reason)
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-3)


def test_same_prompt_ids_as_transformers(engine: VllmEngine, reference: TransformersEngine) -> None:
    context = Context("care", "Think first.\n\n{user_query}")
    messages = [{"role": "user", "content": "How do I boil an egg?"}]
    assert engine.encode(messages, context) == reference.encode(messages, context)
    assert engine.eos_ids == reference.eos_ids


@pytest.mark.parametrize("adapter", [None, "first"])
def test_logprobs_are_the_views_at_temperature_one(
    engine: VllmEngine, reference: TransformersEngine, prompts: list[Prompt], adapter: str | None
) -> None:
    """Whatever temperature, top-p and top-k drew the tokens."""
    sampling = Sampling(max_tokens=16, temperature=2.0, top_k=5, top_p=0.8)
    ours = engine.generate(View(adapter), prompts, sampling, seeds=range(len(prompts)))
    scores = reference.score(View(adapter), prompts, [c.ids for c in ours])
    for completion, score in zip(ours, scores, strict=True):
        assert completion.logprobs == pytest.approx(score.logprobs, abs=1e-3)
        assert completion.entropies == ()


def test_adapters_change_answers_and_leave_the_base_alone(
    engine: VllmEngine, prompts: list[Prompt], alone: dict[str | None, list[Completion]]
) -> None:
    for one, other in ((None, "first"), (None, "second"), ("first", "second")):
        assert same_tokens(alone[one], alone[other]) < 0.5
    for adapter in (None, "first"):
        assert same_tokens(engine.generate(View(adapter), prompts, GREEDY), alone[adapter]) >= 0.9


def test_rows_of_several_threads_and_views_share_the_engine(
    engine: VllmEngine, prompts: list[Prompt], alone: dict[str | None, list[Completion]]
) -> None:
    """A row without adapter stays the base model's even in a batch with adapter rows."""
    results: dict[str | None, list[Completion]] = {}

    def run(adapter: str | None) -> None:
        results[adapter] = engine.generate(View(adapter), prompts, GREEDY)

    threads = [threading.Thread(target=run, args=(adapter,)) for adapter in (None, "first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for adapter, completions in results.items():
        assert same_tokens(completions, alone[adapter]) >= 0.9


def test_rows_keep_their_order_and_return_once_as_they_finish(
    engine: VllmEngine, prompts: list[Prompt], greedy: list[Completion]
) -> None:
    seen: list[tuple[int, Completion]] = []
    times: list[float] = []
    doubled = [*prompts, *prompts[::-1]]

    def note(i: int, completion: Completion) -> None:
        seen.append((i, completion))
        times.append(time.monotonic())

    completions = engine.generate(View(), doubled, Sampling(max_tokens=200), on_complete=note)
    assert sorted(i for i, _ in seen) == list(range(len(doubled)))
    assert all(completions[i] is completion for i, completion in seen)
    assert all(c.ids[:8] == g.ids[:8] for c, g in zip(completions, [*greedy, *greedy[::-1]], strict=True))
    assert len({len(c.ids) for c in completions}) > 1, "answers must differ in length for this test to mean anything"
    assert times[-1] - times[0] > 0.2, "short answers must not wait for the longest"


def test_sampling_follows_the_rows_seed(engine: VllmEngine, prompts: list[Prompt]) -> None:
    seeds = range(100, 100 + len(prompts))
    once = engine.generate(View(), prompts, SAMPLED, seeds)
    assert same_tokens(engine.generate(View(), prompts, SAMPLED, seeds), once) >= 0.9
    # A row's stream belongs to its seed, not to its place or its neighbours.
    backwards = engine.generate(View(), prompts[:0:-1], SAMPLED, seeds[:0:-1])
    assert same_tokens(backwards[::-1], once[1:]) >= 0.9
    repeats = engine.generate(View(), [prompts[0]] * 6, SAMPLED, range(6))
    assert len({c.ids for c in repeats}) > 3
    with pytest.raises(CopsdError, match="seed"):
        engine.generate(View(), prompts, SAMPLED)


def test_stop_reasons_are_true(engine: VllmEngine, prompts: list[Prompt]) -> None:
    short = engine.generate(View(), prompts[:1], Sampling(max_tokens=5))[0]
    assert (short.stop_reason, len(short.ids)) == ("max_tokens", 5)

    ended = engine.generate(View(), [engine.encode([{"role": "user", "content": "Say yes."}])], Sampling(300))[0]
    assert ended.stop_reason == "stop"
    assert ended.ids[-1] in engine.eos_ids
    assert len(ended.ids) == len(ended.logprobs)
    assert "<|im_end|>" not in ended.text

    # Raw text that the model goes on with, two tokens short of the window.
    counting = engine.encode(" ".join(str(n) for n in range(100))).ids
    ids = (counting * 3)[: WINDOW - 2]
    assert len(ids) == WINDOW - 2
    full = engine.generate(View(), [Prompt(ids)], Sampling(max_tokens=50))[0]
    assert (full.stop_reason, len(full.ids)) == ("model_length", 2)
    exact = engine.generate(View(), [Prompt(ids)], Sampling(max_tokens=2))[0]
    assert exact.stop_reason == "max_tokens"
    with pytest.raises(CopsdError, match="context window"):
        engine.generate(View(), [Prompt(ids + ids[:2])], Sampling(max_tokens=1))


def test_stop_strings_end_the_answer_and_leave_its_text(
    engine: VllmEngine, reference: TransformersEngine, prompts: list[Prompt], greedy: list[Completion]
) -> None:
    i = max(range(len(greedy)), key=lambda n: len(greedy[n].text))
    words = greedy[i].text.split()
    stop = f"{words[6]} {words[7]}"
    sampling = replace(GREEDY, stop=("never written", stop))
    cut = engine.generate(View(), [prompts[i]], sampling)[0]
    assert cut.stop_reason == "stop"
    assert cut.text == greedy[i].text[: greedy[i].text.index(stop)]
    assert cut.ids == greedy[i].ids[: len(cut.ids)]
    assert len(cut.ids) == len(cut.logprobs)
    assert cut.ids == reference.generate(View(), [prompts[i]], sampling)[0].ids


def test_a_cancelled_row_leaves_the_engine(engine: VllmEngine, prompts: list[Prompt]) -> None:
    row = engine.submit(View(), prompts[0], Sampling(max_tokens=400, temperature=3.0), seed=1)
    time.sleep(0.5)
    row.cancel()
    deadline = time.monotonic() + 10
    while engine.unfinished and time.monotonic() < deadline:
        time.sleep(0.05)
    assert engine.unfinished == 0


def test_what_it_cannot_do_is_refused_by_name(engine: VllmEngine, prompts: list[Prompt]) -> None:
    assert engine.capabilities == {"generate", "adapters"}
    steered = View(intervention=Intervention("add", 0, torch.zeros(576)))
    pictured = Prompt(prompts[0].ids, features={"pixel_values": torch.zeros(1)})
    for attempt in (
        lambda: engine.score(View(), prompts[:1], [[1]]),
        lambda: engine.activations(View(), prompts[:1], [0]),
        lambda: engine.generate(steered, prompts[:1], GREEDY),
        lambda: engine.generate(View(), [pictured], GREEDY),
    ):
        with pytest.raises(CopsdError, match=r"'vllm' cannot .* 'transformers'"):
            attempt()
    with pytest.raises(CopsdError, match=r"Unknown adapter 'frist'; did you mean 'first'\?"):
        engine.generate(View("frist"), prompts[:1], GREEDY)


@pytest.mark.parametrize(
    ("engine_args", "message"),
    [
        ({"tensor_paralel_size": 2}, "did you mean 'tensor_parallel_size'"),
        ({"logprobs_mode": "raw_logits"}, "cannot be set"),
    ],
)
def test_wrong_engine_arguments_are_one_sentence(smollm2: ResolvedModel, engine_args: dict, message: str) -> None:
    with pytest.raises(CopsdError, match=message):
        VllmEngine(smollm2.path, engine_args=engine_args)


def test_a_window_beyond_the_models_is_refused(smollm2: ResolvedModel) -> None:
    with pytest.raises(CopsdError, match="max_model_len") as caught:
        VllmEngine(smollm2.path, max_model_len=100_000)
    assert "\n" not in str(caught.value)


def test_an_adapter_vllm_does_not_know_is_refused_and_nothing_keeps_running(
    smollm2: ResolvedModel, engine: VllmEngine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    adapter = save_adapter(tmp_path_factory.mktemp("dora"), smollm2.path, 1, use_dora=True)
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(CopsdError, match="DoRA"):
        VllmEngine(smollm2.path, {"tuned": adapter}, "bfloat16", max_model_len=WINDOW)
    _, alive = psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, timeout=20)
    assert not alive
