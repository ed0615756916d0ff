"""One thread for all of a process's work on models, where several threads only slow each other down.

On a CPU every thread that runs torch gets an OpenMP pool of its own. As soon as the pools together have more threads
than there are cores, libgomp stops spinning between small operations and sleeps instead, and decoding takes half as
long again. So an evaluation loads, decodes and scores on one thread, whoever asks.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from copsd_bench.engine.turns import TURNS, acting_for, caller

P = ParamSpec("P")
R = TypeVar("R")

_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copsd-model")


def on_model_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Wait for a turn, call a function on the model thread, and wait for its result; what it raises is raised here."""
    me = threading.get_ident()
    if caller() != me:  # on the model thread already
        return function(*args, **kwargs)

    def act() -> R:
        with acting_for(me):
            return function(*args, **kwargs)

    # The turn comes first: a thread that held it while its work waited behind another's would never get on.
    with TURNS:
        return _executor.submit(act).result()
