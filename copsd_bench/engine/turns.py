"""Whose turn it is to use a model: views share one copy of the weights, so one caller at a time, first come first."""

import threading
from collections import deque
from typing import Self


class Turns:
    """A fair lock: turns are given in the order they were asked for. A thread may nest its own.

    Used as a context manager; `contended` tells who has the turn that others wait for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[int] = deque()  # thread ids; the first one has the turn
        self._depth = 0

    @property
    def contended(self) -> bool:
        """Whether somebody waits for the end of this turn."""
        return len(self._queue) > 1

    def __enter__(self) -> Self:
        me = threading.get_ident()
        with self._changed:
            if not self._queue or self._queue[0] != me:
                self._queue.append(me)
                try:
                    self._changed.wait_for(lambda: self._queue[0] == me)
                except BaseException:  # Ctrl-C while waiting: the place in the queue is given up
                    self._queue.remove(me)
                    self._changed.notify_all()
                    raise
            self._depth += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._changed:
            self._depth -= 1
            if self._depth == 0:
                self._queue.popleft()
                self._changed.notify_all()
