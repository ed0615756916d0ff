"""Judges by name."""

from collections.abc import Callable

from copsd_bench.errors import unknown_name
from copsd_bench.judges.protocol import Judge


def _refusal() -> Judge:
    from copsd_bench.judges.refusal import RefusalJudge

    return RefusalJudge()


JUDGES: dict[str, Callable[[], Judge]] = {"refusal": _refusal}


def get_judge(name: str) -> Judge:
    """A judge by name.

    Raises:
        CopsdError: no judge has this name (with the nearest one).
    """
    if name not in JUDGES:
        raise unknown_name("judge", name, JUDGES)
    return JUDGES[name]()


def judge_argument(name: str | None) -> str | None:
    """What a task's `judge` argument becomes: an offline judge's name, or `grader` for a model that grades."""
    return name if name is None or name in JUDGES else "grader"
