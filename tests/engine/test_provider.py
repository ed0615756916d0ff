"""The Inspect provider on the real model, through Inspect's own `eval`."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, get_model, get_model_info
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

import copsd_bench._registry  # noqa: F401
from copsd_bench.benchmarks.respond import respond
from copsd_bench.engine import provider
from copsd_bench.engine.provider import CopsdAPI
from copsd_bench.engine.spec import load_worker, release
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from tests.engine.tiny import save_tiny

QUESTIONS = ["Hi!", "Name three colours of the rainbow, please.", "Why is the sky blue?", "Count to ten."]


@pytest.fixture(scope="module")
def model() -> Model:
    return get_model("copsd/smollm2-135m", dtype="float32", memoize=False)


def run(model: Model, folder: Path, answer: Solver | None = None, epochs: int = 1, **config: Any) -> EvalLog:
    samples = [Sample(id=f"q{i}", input=question) for i, question in enumerate(QUESTIONS)]
    task = Task(dataset=MemoryDataset(samples), solver=answer or generate(), config=GenerateConfig(**config))
    (log,) = eval(task, model, epochs=epochs, log_dir=str(folder), display="none", max_connections=32)
    return log


def test_counts_reasons_and_logprobs_are_exact(
    model: Model, tmp_path: Path, smollm2_engine: TransformersEngine
) -> None:
    log = run(model, tmp_path, max_tokens=20, temperature=0, logprobs=True)
    assert log.status == "success"
    engine = smollm2_engine
    reasons = set()
    for sample in log.samples or []:
        prompt = engine.encode([{"role": "user", "content": str(sample.input)}])
        usage, choice = sample.output.usage, sample.output.choices[0]
        assert usage is not None
        assert choice.logprobs is not None
        listed = choice.logprobs.content
        assert usage.input_tokens == len(prompt.ids)
        assert usage.output_tokens == len(listed)
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        ended = listed[-1].token in {engine.tokenizer.decode([i]) for i in engine.eos_ids}
        assert choice.stop_reason == ("stop" if ended else "max_tokens")
        assert ended or usage.output_tokens == 20
        assert "".join(token.token for token in listed[: len(listed) - ended]) == sample.output.completion
        assert all(token.logprob <= 0 for token in listed)
        assert sample.output.metadata is not None
        assert sample.output.metadata["mean_logprob"] == pytest.approx(sum(t.logprob for t in listed) / len(listed))
        reasons.add(choice.stop_reason)
    assert reasons == {"stop", "max_tokens"}


def answers(log: EvalLog) -> dict[tuple[str, int], str]:
    assert log.status == "success", log.error
    return {(str(sample.id), sample.epoch): sample.output.completion for sample in log.samples or []}


def test_epochs_differ_and_are_the_same_in_any_run_and_batch_size(model: Model, tmp_path: Path) -> None:
    settings = {"epochs": 3, "max_tokens": 8, "temperature": 1.0}
    first = answers(run(model, tmp_path / "a", respond(seed=5), **settings))
    for question in {key[0] for key in first}:
        assert len({first[question, epoch] for epoch in (1, 2, 3)}) > 1
    small = get_model("copsd/smollm2-135m", dtype="float32", batch_size=2, memoize=False)
    assert answers(run(small, tmp_path / "b", respond(seed=5), **settings)) == first
    assert answers(run(small, tmp_path / "c", respond(seed=6), **settings)) != first


def test_a_repeated_prompt_without_a_seed_is_sampled_anew(model: Model, tmp_path: Path) -> None:
    """Tasks of others set no seed: their epochs must not be copies of each other."""
    found = answers(run(model, tmp_path, epochs=3, max_tokens=8, temperature=1.0))
    assert len({found["q2", epoch] for epoch in (1, 2, 3)}) > 1


def test_stop_strings_and_several_choices(model: Model, tmp_path: Path) -> None:
    log = run(model, tmp_path, max_tokens=12, temperature=1.0, num_choices=3, stop_seqs=["e"])
    assert any(len({choice.message.text for choice in sample.output.choices}) > 1 for sample in log.samples or [])
    for sample in log.samples or []:
        assert len(sample.output.choices) == 3
        assert all("e" not in choice.message.text for choice in sample.output.choices)
        assert sample.output.usage is not None
        assert 3 <= sample.output.usage.output_tokens <= 36


def test_a_seed_gives_the_same_answers_whenever_it_is_asked(model: Model) -> None:
    settings = {"temperature": 1.0, "max_tokens": 8, "num_choices": 2}

    def texts(seed: int | None) -> list[str]:
        return [choice.message.text for choice in ask(model, seed=seed, **settings).choices]

    first, other = texts(1), texts(2)
    assert first[0] != first[1]
    assert texts(1) == first != other
    assert texts(None) != texts(None)


def test_sampled_ids_of_every_choice_on_request(model: Model) -> None:
    settings = {"temperature": 1.0, "max_tokens": 5, "num_choices": 3, "seed": 0}
    output = ask(model, extra_body={"token_ids": True}, **settings)
    ids = output.metadata["token_ids"]
    decode = model.api.worker.engine.tokenizer.decode  # type: ignore[attr-defined]
    assert [decode(i, skip_special_tokens=True) for i in ids] == [choice.message.text for choice in output.choices]
    assert sum(map(len, ids)) == output.usage.output_tokens
    assert "token_ids" not in ask(model, **settings).metadata
    with pytest.raises(CopsdError, match="did you mean 'token_ids'"):
        ask(model, extra_body={"token_id": True}, **settings)


@solver
def of_lengths(limits: dict[str, int]) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await generate(state, max_tokens=limits[str(state.sample_id)])

    return solve


def test_a_short_answer_is_returned_before_a_long_one(model: Model, tmp_path: Path) -> None:
    log = run(model, tmp_path, of_lengths({"q0": 48, "q1": 1, "q2": 48, "q3": 1}), temperature=0)
    done = {
        str(sample.id): datetime.fromisoformat(str(sample.completed_at)) for sample in log.samples or []
    }  # all four were decoded in one batch
    tokens = {str(s.id): s.output.usage.output_tokens for s in log.samples or [] if s.output.usage}
    assert (tokens["q1"], tokens["q3"]) == (1, 1)
    assert (done["q2"] - max(done["q1"], done["q3"])).total_seconds() > 0.2


def ask(model: Model, **config: Any) -> Any:
    return asyncio.run(model.api.generate([ChatMessageUser(content="Hi")], [], "none", GenerateConfig(**config)))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {5: 1.0}}, "logit_bias"),
        ({"best_of": 2}, "best_of"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": 0}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
    ],
    ids=str,
)
def test_what_it_cannot_do_it_refuses_by_name(model: Model, config: dict[str, Any], named: str) -> None:
    with pytest.raises(CopsdError, match=named):
        ask(model, **config)


def test_tools_are_refused(model: Model) -> None:
    from inspect_ai.tool import ToolInfo

    tool = ToolInfo(name="look", description="Look.")
    with pytest.raises(CopsdError, match="does not call tools"):
        asyncio.run(model.api.generate([ChatMessageUser(content="Hi")], [tool], "auto", GenerateConfig()))


def test_model_arguments_are_checked() -> None:
    with pytest.raises(CopsdError, match="did you mean 'dtype'"):
        get_model("copsd/smollm2-135m", dtpye="float32", memoize=False)
    with pytest.raises(CopsdError, match="Unknown dtype 'float8'"):
        get_model("copsd/smollm2-135m", dtype="float8", memoize=False)
    with pytest.raises(CopsdError, match="its weights changed on disk"):
        get_model("copsd/smollm2-135m", weights="0" * 64, memoize=False)


def test_cancelled_requests_leave_and_the_worker_goes_on(model: Model) -> None:
    api = model.api
    assert isinstance(api, CopsdAPI)

    async def cancel_then_ask() -> Any:
        question = [ChatMessageUser(content="Tell a very long story.")]
        long = GenerateConfig(max_tokens=2000)
        tasks = [asyncio.ensure_future(api.generate(question, [], "none", long)) for _ in range(3)]
        await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        short = GenerateConfig(max_tokens=2)
        return await asyncio.wait_for(api.generate([ChatMessageUser(content="Hi")], [], "none", short), timeout=60)

    assert asyncio.run(cancel_then_ask()).usage.output_tokens == 2


def test_a_failing_request_does_not_stop_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = get_model(f"copsd/{save_tiny(tmp_path / 'tiny')}", memoize=False)
    api = broken.api
    assert isinstance(api, CopsdAPI)
    decode: Callable[..., None] = api.worker.engine.decode  # type: ignore[union-attr]

    def fail(*arguments: Any) -> None:
        arguments[1](8)
        raise MemoryError("no memory")

    monkeypatch.setattr(api.worker.engine, "decode", fail)
    with pytest.raises(MemoryError):
        ask(broken, max_tokens=2)
    monkeypatch.setattr(api.worker.engine, "decode", decode)
    assert ask(broken, max_tokens=2).usage.output_tokens <= 2


def test_two_weights_of_one_name_never_share_cached_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_llama: Path
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    settings = {"max_tokens": 8, "temperature": 0, "cache": True}

    def asked() -> tuple[dict[tuple[str, int], str], int]:
        release()  # as in a new process
        log = run(get_model(f"copsd/{folder}", memoize=False), tmp_path / "logs", **settings)
        cached = sum(event.event == "model" and event.cache == "read" for s in log.samples or [] for event in s.events)
        return answers(log), cached

    first, cached = asked()
    assert cached == 0
    assert asked() == (first, len(QUESTIONS))  # the cache works for the same weights
    shutil.rmtree(folder)
    save_tiny(folder, initializer_range=0.5)  # the same path, other weights
    other, cached = asked()
    assert cached == 0
    assert other != first


def test_inspect_does_not_load_the_model_again_to_learn_about_it(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = model.api.worker.engine.max_length  # type: ignore[attr-defined]  # loads it, if another test released it
    loaded: list[object] = []
    monkeypatch.setattr(provider, "load_worker", lambda spec: loaded.append(spec) or load_worker(spec))
    run(model, tmp_path, max_tokens=2)
    info = get_model_info(str(model))
    assert loaded == []
    assert info is not None
    assert info.context_length == window
