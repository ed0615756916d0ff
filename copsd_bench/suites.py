"""Every task by name, and the suites: named lists of tasks. Light: nothing is imported until a task is built."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from copsd_bench.errors import CopsdError, unknown_name

if TYPE_CHECKING:
    from inspect_ai import Task


@dataclass(frozen=True)
class TaskInfo:
    """What `list` shows of a task.

    Attributes:
        module: where its `@task` function lives, below `copsd_bench.benchmarks`.
        title: what it measures.
        kind: `safety`, `general` or both.
        metric: its primary metric.
        pin: its data in `copsd_bench/sources/pins.yaml`; empty if it is packaged or given.
        judges: names it accepts for `--judge`; empty if nothing is judged.
    """

    module: str
    title: str
    kind: str
    metric: str
    pin: str = ""
    judges: tuple[str, ...] = ()


GRADED = ("refusal", "grader")
TASKS: dict[str, TaskInfo] = {
    "mini": TaskInfo("mini", "risky requests, benign twins, checked general items", "both", "appropriate"),
    "xstest": TaskInfo(
        "text.xstest", "refusal of unsafe, over-refusal of safe prompts", "safety", "appropriate", "xstest", GRADED
    ),
    "strongreject": TaskInfo(
        "text.strongreject",
        "useful answers to forbidden requests",
        "safety",
        "strongreject",
        "strongreject",
        GRADED,
    ),
    "gsm8k": TaskInfo("text.gsm8k", "grade-school arithmetic", "general", "accuracy", "gsm8k"),
    "ifeval": TaskInfo("text.ifeval", "checkable instructions", "general", "prompt_strict", "ifeval"),
}
"""Tasks with a name. `prompts` is built from a user's file and therefore not among them."""

SUITES: dict[str, tuple[str, ...]] = {
    "mini": ("mini",),
    "text": ("xstest", "strongreject", "gsm8k", "ifeval"),
}


BRIDGE = "lm_eval/"
"""Before a name of lm-eval: its tasks, groups and tags are tasks too; `lm_eval/NAME@5` sets the worked examples."""


def judges_of(name: str) -> tuple[str, ...]:
    """Names a task accepts for `--judge`; none for what needs no judge."""
    return () if name.startswith(BRIDGE) else TASKS[name].judges


def tasks_of(suite: str | None, tasks: Sequence[str]) -> list[str]:
    """Names of the tasks to run, in order and without repeats.

    Raises:
        CopsdError: unknown suite or task (with the nearest name).
    """
    names: list[str] = []
    if suite is not None:
        if suite not in SUITES:
            raise unknown_name("suite", suite, SUITES)
        names += SUITES[suite]
    for name in tasks:
        if not name.startswith(BRIDGE) and name not in TASKS:
            raise unknown_name("task", name, TASKS)
        names.append(name)
    return list(dict.fromkeys(names))


def make_task(name: str, judge: str | None = None, **arguments: Any) -> "Task":
    """Build a task by name.

    Args:
        name: a key of `TASKS`, or a name of lm-eval after `lm_eval/`.
        judge: `refusal`, or `grader` for a model in the role `grader`; tasks without judging ignore it.
        arguments: further arguments of the task function (`constitution`, `seed`).

    Raises:
        CopsdError: its data is missing or altered, an extra is not installed, or lm-eval has no such task.
    """
    if name.startswith(BRIDGE):
        return _bridged(name.removeprefix(BRIDGE), **arguments)
    info = TASKS[name]
    module = importlib.import_module(f"copsd_bench.benchmarks.{info.module}")
    if judge is not None and info.judges:
        if judge not in info.judges:
            raise CopsdError(f"Task {name} takes the judges {', '.join(info.judges)}, not {judge!r}.")
        arguments["judge"] = judge
    built: Task = getattr(module, info.module.rpartition(".")[2])(**arguments)
    return built


def _bridged(name: str, **arguments: Any) -> "Task":
    from copsd_bench.benchmarks.bridge.task import lm_eval

    name, at, shots = name.partition("@")
    if at and not shots.isdecimal():
        raise CopsdError(f"{BRIDGE}{name}@{shots}: after @ comes the number of worked examples, e.g. @5.")
    built: Task = lm_eval(name, int(shots) if at else None, **arguments)
    return built
