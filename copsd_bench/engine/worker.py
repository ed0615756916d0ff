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
from copsd_bench.engine.protocol import Completion, Prompt, Sampling, View
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


class Worker:
    """Decodes requests of one view on a daemon thread, so that Ctrl-C waits for one token at most.

    Args:
        engine: the model; used by this thread only while requests are under way.
        view: how to look at the weights.
        identity: digest of all that decides the answers, as it was when the engine was loaded.
    """

    def __init__(self, engine: TransformersEngine, view: View, identity: str = "") -> None:
        self.engine = engine
        self.view = view
        self.identity = identity
        self._inbox: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._waiting: list[Request] = []
        self._running: list[Request] = []
        self._idle = threading.Event()
        self._closed = False
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._run, daemon=True, name="copsd-decoder")
        self._thread.start()

    def submit(self, prompt: Prompt, sampling: Sampling, seed: int) -> "Future[Completion]":
        """Hand over a prompt; the future's result is its completion."""
        request = Request(prompt, sampling, seed)
        self._inbox.put(request)
        return request.future

    def close(self) -> None:
        """Drop all requests and wait for the forward pass under way: a thread that dies inside torch aborts Python."""
        self._closed = True
        for request in [*self._waiting, *self._running]:
            request.future.cancel()
        self._idle.wait(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            self._idle.set()
            request = self._inbox.get()
            self._idle.clear()
            self._waiting.append(request)
            self._gather()
            try:
                self.engine.decode(self.view, self._pull)
            except BaseException as error:  # handed to every waiting caller: a thread has nobody else to tell
                for request in [*self._running, *self._waiting]:
                    with suppress(InvalidStateError):  # done or cancelled meanwhile
                        request.future.set_exception(error)
                self._waiting.clear()
            self._running.clear()

    def _gather(self) -> None:
        deadline = time.monotonic() + GATHER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._waiting.append(self._inbox.get(timeout=left))
            except queue.Empty:
                return
            deadline = time.monotonic() + GATHER_SECONDS

    def _pull(self, free: int) -> Sequence[Row]:
        while not self._inbox.empty():
            self._waiting.append(self._inbox.get())
        if self._closed:
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
