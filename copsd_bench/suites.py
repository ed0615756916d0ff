"""The suites, named lists of tasks, and how a task is built. Light: nothing is imported until then."""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from copsd_bench.errors import CopsdError, unknown_name
from copsd_bench.task_table import OWN, TASKS, TaskInfo

if TYPE_CHECKING:
    from inspect_ai import Task


SUITES: dict[str, tuple[str, ...]] = {
    "mini": ("mini",),
    "text": (
        *("harmbench", "strongreject", "jailbreakbench", "do_not_answer", "xstest", "coconot"),
        *("gsm8k", "math500", "mmlu", "bbh", "ifeval", "humaneval"),
    ),
    "copsd": (
        *("beavertails_v", "spa_vl", "vlguard", "siuo", "mssbench", "vlsbench"),
        *("mathvista", "llava_wilder", "mmvet", "scienceqa", "vqav2", "gqa"),
    ),
    "safesteer": (
        *("advbench", "pku_saferlhf", "harmbench", "jailbreakbench", "sorry_bench", "harmfulqa", "alert"),
        *("mmlu", "alpaca_eval", "gsm8k", "math", "humaneval"),
    ),
    "shard": ("do_not_answer", "linguasafe"),
    "collapse": tuple(name for name, info in TASKS.items() if info.reference),
}

BRIDGE = "lm_eval/"
"""Before a name of lm-eval: its tasks, groups and tags are tasks too; `lm_eval/NAME@5` sets the worked examples."""


def task_info(name: str) -> TaskInfo:
    """What is known of a task before it is built."""
    return TaskInfo("bridge.task", name, "general", "") if name.startswith(BRIDGE) else TASKS[name]


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


def make_task(name: str, judge: str | None = None, unsafe_local_exec: bool = False, **arguments: Any) -> "Task":
    """Build a task by name.

    Args:
        name: a key of `TASKS`, or a name of lm-eval after `lm_eval/`.
        judge: `refusal`, `grader` for the task's own rubric by the model role `grader`, or the name of another format
            for that role; tasks without judging ignore it.
        unsafe_local_exec: a task that executes the model's code may do so on this machine.
        arguments: further arguments of the task function (`constitution`, `seed`).

    Raises:
        CopsdError: its data is missing or altered, an extra is not installed, or lm-eval has no such task.
    """
    if name.startswith(BRIDGE):
        return _bridged(name.removeprefix(BRIDGE), **arguments)
    info = TASKS[name]
    module = importlib.import_module(f"copsd_bench.benchmarks.{info.module}")
    if info.runs_code:
        from copsd_bench.benchmarks.execution import where_to_run

        arguments["sandbox"] = where_to_run(unsafe_local_exec)
    if judge is not None and info.judges and not (judge == "refusal" and "several" in info.judges):
        _check_judge(name, judge, info.judges)
        arguments["judge"] = judge
    built: Task = getattr(module, info.module.rpartition(".")[2])(**arguments)
    return built


def _check_judge(name: str, judge: str, judges: tuple[str, ...]) -> None:
    """Refuse what a task does not take for a judge: one of `judges`, another format, or several of them."""
    parts = judge.split(",")
    several = len(parts) > 1 and not {"format", "several"} & set(judges)
    if several or any(part not in judges and (part in OWN or "format" not in judges) for part in parts):
        taken = ", ".join(each for each in judges if each != "several")
        raise CopsdError(f"Task {name} takes the judges {taken}, not {judge!r}.")


def _bridged(name: str, **arguments: Any) -> "Task":
    from copsd_bench.benchmarks.bridge.task import lm_eval

    name, at, shots = name.partition("@")
    if at and not shots.isdecimal():
        raise CopsdError(f"{BRIDGE}{name}@{shots}: after @ comes the number of worked examples, e.g. @5.")
    built: Task = lm_eval(name, int(shots) if at else None, **arguments)
    return built
