"""Judges by name."""

from collections.abc import Callable

from copsd_bench.errors import unknown_name
from copsd_bench.judges.protocol import Judge


def _refusal() -> Judge:
    from copsd_bench.judges.refusal import RefusalJudge

    return RefusalJudge()


GRADER = "grader"
"""Inspect's model role of the first judging model, and the judge argument that asks the task's own rubric of it."""
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
    """What a task's `judge` argument becomes: an offline judge's name, or for each model the format it is asked in.

    `grader` stands for the task's own rubric; several are joined by commas.
    """
    if name is None or name in JUDGES:
        return name
    return ",".join(form or GRADER for form, _ in split_judges(name))


def split_judges(names: str) -> list[tuple[str, str]]:
    """`FORMAT:MODEL`, or several joined by commas, as pairs; the format of a model alone is empty.

    Raises:
        CopsdError: no format has this name (with the nearest one).
    """
    from copsd_bench.judges.formats import format_named

    pairs = []
    for name in names.split(","):
        form, colon, model = name.strip().partition(":")
        # `ollama/llama3:8b` is a model: a format's name holds no slash.
        pairs.append((format_named(form).name, model) if colon and "/" not in form else ("", name.strip()))
    return pairs


def role_of(number: int) -> str:
    """Inspect's model role of the judge of this number, from 0."""
    return GRADER if number == 0 else f"{GRADER}_{number + 1}"
