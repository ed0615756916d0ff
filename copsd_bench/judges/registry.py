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
    """What a task's `judge` argument becomes: an offline judge's name, `grader`, or the format asked for."""
    if name is None or name in JUDGES:
        return name
    return split_judge(name)[0] or "grader"


def split_judge(name: str) -> tuple[str, str]:
    """`FORMAT:MODEL` as its two parts; the format is empty for a model alone, which the task's own rubric asks.

    Raises:
        CopsdError: no format has this name (with the nearest one).
    """
    form, colon, model = name.partition(":")
    # `ollama/llama3:8b` is a model: a format's name holds no slash.
    if not colon or "/" in form:
        return "", name
    from copsd_bench.judges.formats import format_named

    return format_named(form).name, model
