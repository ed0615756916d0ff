"""One thread for all of a process's work on models, where several threads only slow each other down.

On a CPU every thread that runs torch gets an OpenMP pool of its own. As soon as the pools together have more threads
than there are cores, libgomp stops spinning between small operations and sleeps instead, and decoding takes half as
long again. So the model is loaded, decoded and scored on one thread, whoever asks.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_acting = threading.local()
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copsd-model")


def on_model_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function on the model thread and wait for its result; what it raises is raised here."""
    if getattr(_acting, "caller", None) is not None:
        return function(*args, **kwargs)
    caller = threading.get_ident()

    def act() -> R:
        _acting.caller = caller
        try:
            return function(*args, **kwargs)
        finally:
            _acting.caller = None

    return _executor.submit(act).result()


def caller() -> int:
    """The thread on whose behalf the current one works: itself, but on the model thread the one that asked."""
    acting: int | None = getattr(_acting, "caller", None)
    return threading.get_ident() if acting is None else acting
