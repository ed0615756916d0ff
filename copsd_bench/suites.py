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
        reference: it measures the model against a reference, on rollouts.
        options: further settings of a run that it takes.
        white_box: it needs the token distributions of both, from the engine `transformers`.
    """

    module: str
    title: str
    kind: str
    metric: str
    pin: str = ""
    judges: tuple[str, ...] = ()
    reference: bool = False
    options: tuple[str, ...] = ()
    white_box: bool = False


def _collapse(name: str, title: str, metric: str, options: tuple[str, ...] = (), **more: Any) -> TaskInfo:
    options = ("reference", "rollouts", *options)
    return TaskInfo(f"collapse.{name}", title, "both", metric, reference=True, options=options, **more)


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
    "length_collapse": _collapse("length_collapse", "length against the reference's answers", "length_ratio"),
    "refusal_collapse": _collapse("refusal_collapse", "refusal of harmful requests minus of benign twins", "balance"),
    "kl_direction": _collapse(
        "kl_direction", "divergence from the reference, both ways", "mode_seeking", white_box=True
    ),
    "diversity_collapse": _collapse(
        "diversity_collapse", "differences between answers to a prompt", "diversity", options=("embedding_model",)
    ),
    "copying": _collapse("copying", "overlap of constitution and answers", "jaccard"),
    "leakage": _collapse("leakage", "length that moves with refusal", "leakage_slope"),
    "pairwise_help": _collapse("pairwise_help", "helpfulness against the reference", "win_rate", judges=("grader",)),
    "pairwise_harmless": _collapse(
        "pairwise_harmless", "harmlessness against the reference", "win_rate", judges=("grader",)
    ),
}
"""Tasks with a name. `prompts` is built from a user's file and therefore not among them."""

SUITES: dict[str, tuple[str, ...]] = {
    "mini": ("mini",),
    "text": ("xstest", "strongreject", "gsm8k", "ifeval"),
    "collapse": tuple(name for name, info in TASKS.items() if info.reference),
}


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
        if name not in TASKS:
            raise unknown_name("task", name, TASKS)
        names.append(name)
    return list(dict.fromkeys(names))


def make_task(name: str, judge: str | None = None, **arguments: Any) -> "Task":
    """Build a task by name.

    Args:
        name: a key of `TASKS`.
        judge: `refusal`, or `grader` for a model in the role `grader`; tasks without judging ignore it.
        arguments: further arguments of the task function (`constitution`, `seed`).

    Raises:
        CopsdError: its data is missing or altered, or an extra is not installed.
    """
    info = TASKS[name]
    module = importlib.import_module(f"copsd_bench.benchmarks.{info.module}")
    if judge is not None and info.judges:
        if judge not in info.judges:
            raise CopsdError(f"Task {name} takes the judges {', '.join(info.judges)}, not {judge!r}.")
        arguments["judge"] = judge
    built: Task = getattr(module, info.module.rpartition(".")[2])(**arguments)
    return built
