"""One thread that keeps an engine busy: requests that arrive while a batch is decoding join it."""

import atexit
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from copsd_bench.engine.decode import Row
from copsd_bench.engine.model_thread import on_model_thread
from copsd_bench.engine.protocol import Completion, Prompt, Sampling, TokenScores, View
from copsd_bench.engine.sample import RowStream
from copsd_bench.engine.transformers_engine import TransformersEngine

GATHER_SECONDS = 0.05
"""Silence waited for before the first batch, so that it starts sorted and full."""

CLOSE_SECONDS = 60.0
"""Longest wait at exit for the forward pass under way."""


@dataclass(eq=False)
class Request:
    """A prompt that waits for its completion."""

    prompt: Prompt
    sampling: Sampling
    seed: int
    future: "Future[Completion]" = field(default_factory=Future)

    def row(self) -> Row:
        """The request as a row of the decoder; a cancelled request is dropped at its next token."""
        return Row(self.prompt, self.sampling, RowStream(self.seed), self._done, self.future.cancelled)

    def _done(self, completion: Completion) -> None:
        with suppress(InvalidStateError):  # cancelled meanwhile
            self.future.set_result(completion)


@dataclass(eq=False)
class ScoreRequest:
    """Completions that wait for their scores, handed over together so that a shared prompt is read once."""

    prompts: Sequence[Prompt]
    completions: Sequence[Sequence[int]]
    scores: dict[int, TokenScores] = field(default_factory=dict)
    future: "Future[list[TokenScores]]" = field(default_factory=Future)

    def done(self, i: int, scores: TokenScores) -> None:
        """Take the scores of one completion; the last ones are the result."""
        self.scores[i] = scores
        if len(self.scores) == len(self.completions):
            with suppress(InvalidStateError):  # cancelled meanwhile
                self.future.set_result([self.scores[i] for i in range(len(self.completions))])


class Worker:
    """Decodes requests of one view on a daemon thread, so that Ctrl-C waits for one token at most.

    Workers of several views may share an engine. They take turns in the order they asked: while another one waits, a
    turn takes no further requests than it began with.

    Args:
        engine: the model; used by this thread only while requests are under way.
        view: how to look at the weights.
        identity: digest of all that decides the answers, as it was when the engine was loaded.
    """

    def __init__(self, engine: TransformersEngine, view: View, identity: str = "") -> None:
        self.engine = engine
        self.view = view
        self.identity = identity
        self._inbox: queue.SimpleQueue[Request | ScoreRequest | None] = (
            queue.SimpleQueue()
        )  # None wakes a closed worker
        self._waiting: list[Request] = []
        self._to_score: list[ScoreRequest] = []
        self._running: list[Request] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="copsd-decoder")
        _workers.append(self)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it takes no more requests."""
        return self._closed

    def submit(self, prompt: Prompt, sampling: Sampling, seed: int) -> "Future[Completion]":
        """Hand over a prompt; the future's result is its completion."""
        request = Request(prompt, sampling, seed)
        self._inbox.put(request)
        if self._closed:  # after the request is in: the thread's last look at its inbox may be over
            request.future.cancel()
        return request.future

    def submit_scores(
        self, prompts: Sequence[tuple[int, ...]], completions: Sequence[tuple[int, ...]]
    ) -> "Future[list[TokenScores]]":
        """Hand over token ids of completions and of their prompts; the future's result are their scores in order.

        Requests that wait together are scored together; scoring waits for the batch that is decoding. At least one
        completion.
        """
        request = ScoreRequest([Prompt(ids=tuple(ids)) for ids in prompts], completions)
        self._inbox.put(request)
        if self._closed:
            request.future.cancel()
        return request.future

    def close(self) -> None:
        """Drop all requests and wait for the forward pass under way: a thread that dies inside torch aborts Python."""
        self.stop()
        self._thread.join(CLOSE_SECONDS)
        if self in _workers:
            _workers.remove(self)

    def stop(self) -> None:
        """Drop all requests, without waiting."""
        self._closed = True
        for request in self._open():
            request.future.cancel()
        self._inbox.put(None)

    def _open(self) -> "list[Request | ScoreRequest]":
        """Every request without a result."""
        return [*self._running, *self._waiting, *self._to_score]

    def _run(self) -> None:
        while not self._closed:
            if not (self._waiting or self._to_score):
                self._take(self._inbox.get())
            self._gather()
            try:
                on_model_thread(self._work)
            except BaseException as error:  # handed to every waiting caller: a thread has nobody else to tell
                for request in self._open():
                    with suppress(InvalidStateError):  # done or cancelled meanwhile
                        request.future.set_exception(error)
                self._waiting.clear()
                self._to_score.clear()
            self._running.clear()
        self._drain()

    def _work(self) -> None:
        self._score()
        self.engine.decode(self.view, self._pull)

    def _take(self, request: Request | ScoreRequest | None) -> None:
        if isinstance(request, ScoreRequest):
            self._to_score.append(request)
        elif request is not None:
            self._waiting.append(request)

    def _score(self) -> None:
        """Score what waits for it, all together; each request is over as soon as its last row is.

        So whoever asked works on the first results, and asks for more, while the others are computed.
        """
        requests = [request for request in self._to_score if not request.future.cancelled()]
        rows = [(request, i) for request in requests for i in range(len(request.completions))]
        prompts = [request.prompts[i] for request, i in rows]
        completions = [request.completions[i] for request, i in rows]
        self.engine.score(
            self.view, prompts, completions, on_complete=lambda i, scores: rows[i][0].done(rows[i][1], scores)
        )
        self._to_score.clear()

    def _gather(self) -> None:
        deadline = time.monotonic() + GATHER_SECONDS
        while not self._closed and (left := deadline - time.monotonic()) > 0:
            try:
                self._take(self._inbox.get(timeout=left))
            except queue.Empty:
                return
            deadline = time.monotonic() + GATHER_SECONDS

    def _drain(self) -> None:
        """Cancel what came after the end."""
        while not self._inbox.empty():
            self._take(self._inbox.get())
        for request in self._open():
            request.future.cancel()

    def _pull(self, free: int) -> Sequence[Row]:
        while not self._inbox.empty():
            self._take(self._inbox.get())
        if self._closed or (self._running and self.engine.turns.contended):
            return []
        self._running = [request for request in self._running if not request.future.done()]
        # Longest first: neighbours in length start together, and the last rows to run are short ones.
        self._waiting.sort(key=lambda request: len(request.prompt.ids))
        taken: list[Request] = []
        # No row means to the decoder that nobody waits: cancelled requests must not stand in the way of others.
        while self._waiting and len(taken) < free:
            request = self._waiting.pop()
            if not request.future.cancelled():
                taken.append(request)
        self._running += taken
        return [request.row() for request in taken]


_workers: list[Worker] = []


@atexit.register
def _close_all() -> None:
    """End every worker at the interpreter's exit; all are told first, as one may wait for another's turn."""
    for worker in _workers:
        worker.stop()
    for worker in list(_workers):
        worker.close()
