"""The worker threads: whoever waits gets an answer, whatever became of the others; views of one engine take turns."""

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.engine.protocol import Completion, Prompt, Sampling, TokenScores, View
from copsd_bench.engine.spec import EngineSpec, load_worker
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.worker import Worker
from copsd_bench.errors import CopsdError
from tests.engine.test_divergence import STUDENT, TEACHER

PROMPTS = [Prompt(ids=tuple(range(length))) for length in (3, 9, 12, 5, 7)]


def test_cancelled_requests_in_the_queue_do_not_hold_up_those_behind_them(tiny_llama: Path) -> None:
    worker = Worker(TransformersEngine(tiny_llama, batch_size=1), View())
    futures = [worker.submit(prompt, Sampling(max_tokens=2), seed=0) for prompt in PROMPTS[:3]]
    for longer in futures[1:]:  # they are taken first
        longer.cancel()
    assert 1 <= len(futures[0].result(timeout=20).ids) <= 2
    worker.close()


def test_views_of_one_engine_decode_and_score_side_by_side(tiny_engine: TransformersEngine) -> None:
    """Requests of three views at once, and scoring from this thread meanwhile: each gets its own view's numbers."""
    views = [View(), STUDENT, TEACHER]
    sampling = Sampling(max_tokens=12, temperature=1.0)
    seeds = range(len(PROMPTS))
    expected = [[c.ids for c in tiny_engine.generate(view, PROMPTS, sampling, seeds)] for view in views]
    assert len({str(ids) for ids in expected}) == len(views)
    scores = tiny_engine.score(TEACHER, PROMPTS, [(1, 2, 3)] * len(PROMPTS))
    workers = [Worker(tiny_engine, view) for view in views]
    for _ in range(3):
        futures = [[w.submit(p, sampling, s) for p, s in zip(PROMPTS, seeds, strict=True)] for w in workers]
        again = tiny_engine.score(TEACHER, PROMPTS, [(1, 2, 3)] * len(PROMPTS))
        assert [s.logprobs for s in again] == [pytest.approx(s.logprobs, abs=1e-4) for s in scores]
        assert [[future.result(timeout=30).ids for future in asked] for asked in futures] == expected
    for worker in workers:
        worker.close()


def test_a_busy_view_does_not_keep_another_from_its_turn(tiny_engine: TransformersEngine) -> None:
    busy, other = Worker(tiny_engine, STUDENT), Worker(tiny_engine, TEACHER)
    stop = threading.Event()

    def again(done: "Future[Completion] | None" = None) -> None:
        """Every answer asks for the next one: the busy view's queue never runs dry."""
        if not stop.is_set():
            busy.submit(PROMPTS[0], Sampling(max_tokens=8), seed=0).add_done_callback(again)

    for _ in range(2 * tiny_engine.batch_size):
        again()
    answered = [other.submit(prompt, Sampling(max_tokens=2), seed=0) for prompt in PROMPTS]
    assert all(future.result(timeout=30) for future in answered)
    assert tiny_engine.score(View(), PROMPTS[:1], [(1,)])
    stop.set()
    busy.close()
    other.close()


def test_a_closed_worker_has_ended_whenever_it_was_closed(tiny_engine: TransformersEngine) -> None:
    """No request is left without an end, nor a thread in a forward pass: closed at once, while gathering, decoding."""
    for wait in (0.0, 0.0, 0.02, 0.06, 0.1):
        worker = Worker(tiny_engine, View())
        future = worker.submit(PROMPTS[0], Sampling(max_tokens=100), seed=0)
        threading.Event().wait(wait)
        worker.close()
        assert not worker._thread.is_alive()
        assert future.done()
        assert worker.submit(PROMPTS[0], Sampling(), seed=0).cancelled()


def test_specifications_that_differ_in_the_adapter_share_one_engine(
    tiny_llama: Path, tiny_adapters: dict[str, Path]
) -> None:
    base = EngineSpec(str(tiny_llama), dtype="float32", device="cpu")
    student, teacher = (
        EngineSpec(str(tiny_llama), str(tiny_adapters[name]), dtype="float32", device="cpu")
        for name in ("student", "teacher")
    )
    prompts, ids = [Prompt(ids=(1, 2, 3))], [(4, 5)]
    plain = load_worker(base)
    alone = plain.engine.score(plain.view, prompts, ids)
    workers = [plain, load_worker(student), load_worker(teacher)]
    assert len({worker.engine for worker in workers}) == 1
    assert len({worker.identity for worker in workers}) == 3
    scores = [worker.engine.score(worker.view, prompts, ids) for worker in workers]
    assert scores[0] == alone
    for name, found in zip(("student", "teacher"), scores[1:], strict=True):
        own = TransformersEngine(tiny_llama, {name: tiny_adapters[name]})
        expected = own.score(View(adapter=name), prompts, ids)[0].logprobs
        assert found[0].logprobs == pytest.approx(expected, abs=1e-5)
    half = EngineSpec(str(tiny_llama), dtype="bfloat16", device="cpu")
    assert load_worker(half).engine is not plain.engine


def test_scores_asked_of_a_worker_are_the_engines_and_wait_for_no_answer(tiny_engine: TransformersEngine) -> None:
    """Several requests at once beside answers that decode; one that cannot be scored fails with those beside it."""
    worker = Worker(tiny_engine, STUDENT)
    completions = [(1, 2, 3), (4,), (5, 6)]
    expected = [tiny_engine.score(STUDENT, [prompt] * 3, completions) for prompt in PROMPTS]
    answers = [worker.submit(prompt, Sampling(max_tokens=4), seed=0) for prompt in PROMPTS]
    futures = [worker.submit_scores([prompt.ids] * 3, completions) for prompt in PROMPTS]
    for future, scores in zip(futures, expected, strict=True):
        for ours, theirs in zip(future.result(timeout=30), scores, strict=True):
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
    assert all(answer.result(timeout=30).ids for answer in answers)
    with pytest.raises(CopsdError, match="exceed the model's context window"):
        worker.submit_scores([PROMPTS[0].ids], [(1,) * 10_000]).result(timeout=30)
    assert worker.submit_scores([PROMPTS[0].ids], [(1,)]).result(timeout=30), "the worker goes on"
    worker.close()
    assert worker.submit_scores([PROMPTS[0].ids], [(1,)]).cancelled()


def test_scores_are_told_as_soon_as_a_batch_has_them(
    tiny_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copsd_bench.engine.states.STATE_TOKENS", 8)  # several batches
    told: list[int] = []
    passes = [0]
    states = tiny_engine.head.last_states

    def counted(**forward: Any) -> Any:
        passes[0] += 1
        return states(**forward)

    monkeypatch.setattr(tiny_engine.head, "last_states", counted)
    prompts = [Prompt(ids=tuple(range(1, 4 + i))) for i in range(4)]
    completions = [(5,), (), (6,), (7,)]

    def tell(i: int, scores: TokenScores) -> None:
        told.append(passes[0])
        seen[i] = scores

    seen: dict[int, TokenScores] = {}
    scores = tiny_engine.score(STUDENT, prompts, completions, on_complete=tell)
    assert [seen[i] for i in range(4)] == scores
    assert told[0] == 0, "an empty completion needs no pass"
    assert told[1] < passes[0], "the first result is told before the last pass"
