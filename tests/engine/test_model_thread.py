"""All work on models happens on one thread, on behalf of whoever asked."""

import threading

import pytest

from copsd_bench.engine.model_thread import on_model_thread
from copsd_bench.engine.turns import TURNS, caller


def test_one_thread_for_all_callers() -> None:
    seen = set()
    threads = [threading.Thread(target=lambda: seen.add(on_model_thread(threading.get_ident))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(seen) == 1
    assert threading.get_ident() not in seen


def test_it_may_nest_and_works_for_its_caller() -> None:
    assert on_model_thread(lambda: on_model_thread(caller)) == threading.get_ident()
    assert caller() == threading.get_ident()


def test_what_it_raises_is_raised_at_the_caller_and_the_thread_goes_on() -> None:
    with pytest.raises(ZeroDivisionError):
        on_model_thread(lambda: 1 // 0)
    assert on_model_thread(lambda: 1) == 1


def test_a_turn_of_the_caller_is_a_turn_of_its_work() -> None:
    def work() -> bool:
        with TURNS:
            return TURNS.contended

    with TURNS:
        assert on_model_thread(work) is False
    assert on_model_thread(work) is False
