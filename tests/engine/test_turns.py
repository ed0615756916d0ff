"""Turns at a model are given in the order they were asked for, and a thread may nest its own."""

import threading
import time

from copsd_bench.engine.turns import Turns


def test_turns_are_given_in_order_of_asking() -> None:
    turns, order, threads = Turns(), [], []

    def take(i: int) -> None:
        with turns:
            order.append(i)

    with turns, turns:
        assert not turns.contended
        for i in range(5):
            threads.append(threading.Thread(target=take, args=(i,)))
            threads[-1].start()
            while len(turns._queue) < i + 2:
                time.sleep(0.001)
        assert turns.contended
        assert order == []
    for thread in threads:
        thread.join(timeout=10)
    assert order == [0, 1, 2, 3, 4]
    assert not turns.contended
