"""The tasks of a plan through Inspect: generated and scored, at once or with the judges as a second phase."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_ai import Task, eval_set
from inspect_ai.log import EvalLog, read_eval_log_sample_async, read_eval_log_sample_summaries
from inspect_ai.solver import Generate, Solver, TaskState, solver

from copsd_bench.benchmarks.task import KEY
from copsd_bench.engine.spec import release
from copsd_bench.errors import INTERRUPTED, CopsdError, ExitCode
from copsd_bench.judges.registry import GRADER
from copsd_bench.tested_model import connections, inspect_models, judge_models

if TYPE_CHECKING:
    from copsd_bench.run import Plan

LOGGED_IMAGES = 500
"""Items of a run up to which its logs hold their images, to be looked at."""
ANSWERS, JUDGED = "answers", "judged"
"""Folders of the two phases' logs, below the run's own."""


@dataclass(frozen=True)
class Evaluated:
    """Headers of finished logs.

    Attributes:
        scored: one a task.
        answered: of the first phase, by task, for tasks whose judges came second.
    """

    scored: list[EvalLog]
    answered: dict[str, EvalLog] = field(default_factory=dict)


def evaluate(planned: "Plan") -> Evaluated:
    """Generate and score what is not in the run's logs yet.

    With `judge_later`, tasks that a model judges are only generated at first; then the tested model gives its memory
    back, and the judges see what the logs hold. Both phases continue where they stopped.

    Raises:
        CopsdError: samples failed (what is done is kept), or the run was interrupted.
    """
    model, roles = inspect_models(planned)
    if not planned.config.judge_later:
        return Evaluated(_run(planned, planned.tasks, planned.log_dir, model, roles | judge_models(planned, model)))
    judged = [task for task in planned.tasks if asks_a_model(task)]
    others = [task for task in planned.tasks if task not in judged]
    answered = _run(planned, judged, planned.log_dir / ANSWERS, model, roles, score=False)
    scored = _run(planned, others, planned.log_dir, model, roles)
    release()
    by_task = {task_name(header): header for header in answered}
    for task in judged:
        # Inspect names a log it wrote by its path and one it found by a URL; a task that is continued must be the same.
        task.solver = logged_answers(by_task[task.name].location.removeprefix("file://"))
    judges = judge_models(planned, model)
    scored += _run(planned, judged, planned.log_dir / JUDGED, None, judges)
    return Evaluated(scored, by_task)


def asks_a_model(task: Task) -> bool:
    """Whether a model judges a task's answers."""
    return any(judge.startswith(GRADER) for judge in (task.metadata or {})[KEY]["judges"].values())


def task_name(header: EvalLog) -> str:
    """A log's task, by this project's name."""
    return header.eval.task.removeprefix("copsd_bench/")


@solver
def logged_answers(log: str) -> Solver:
    """What a log holds of each sample, where generation would be.

    Args:
        log: where it lies.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        sample = await read_eval_log_sample_async(log, state.sample_id, state.epoch, resolve_attachments=True)
        state.messages, state.output = sample.messages, sample.output
        state.metadata.update(sample.metadata)
        for name, value in sample.store.items():
            state.store.set(name, value)
        return state

    return solve


def _run(
    planned: "Plan", tasks: Sequence[Task], folder: Path, model: Any, roles: dict[str, Any], score: bool = True
) -> list[EvalLog]:
    if not tasks:
        return []
    config = planned.config
    success, headers = eval_set(
        list(tasks),
        log_dir=str(folder),
        model=model,
        model_roles=roles or None,
        limit=config.limit,
        epochs=config.epochs,
        score=score,
        retry_attempts=0,
        retry_immediate=False,
        # One sample that fails does not stop the others; the run fails at its end, and says which and why.
        continue_on_fail=True,
        log_buffer=None if planned.model.engine == "responses" else 1,
        log_realtime=False,
        # With its images the log of a whole set would be as large as the set; judges that come later see the log alone.
        log_images=config.judge_later or _items(planned) <= LOGGED_IMAGES,
        log_dir_allow_dirty=True,
        max_tasks=1,
        max_connections=connections(planned, [model, *roles.values()]),
        display=config.display,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
    )
    # Interrupted, eval_set calls itself successful and leaves the unfinished task out.
    if not success or len(headers) < len(tasks) or any(header.status != "success" for header in headers):
        raise _failure(headers, len(tasks), folder)
    return headers


def _items(planned: "Plan") -> int:
    """Items that are answered, over all tasks."""
    return sum(min(len(task.dataset), planned.config.limit or len(task.dataset)) for task in planned.tasks)


def _failure(headers: Sequence[EvalLog], count: int, folder: Path) -> CopsdError:
    """One sentence for a run of `count` tasks that did not finish."""
    if len(headers) < count or any(header.status == "cancelled" for header in headers):
        return CopsdError(INTERRUPTED, ExitCode.INTERRUPTED)
    for header in headers:
        if header.error is not None and os.strerror(errno.ENOSPC) in header.error.message:
            return CopsdError(
                f"Task {header.eval.task} stopped: the disk of {folder} is full; free some space and repeat "
                "the command, which continues where it stopped, or choose another --out.",
                ExitCode.DISK,
            )
        if header.error is not None:
            reason = header.error.message.strip().splitlines()[0] if header.error.message.strip() else "unknown error"
            return CopsdError(
                f"Task {header.eval.task} stopped: {reason} What is done is kept in {folder}; "
                "the same command continues.",
                ExitCode.RUN,
            )
    for header in headers:
        failed = [sample for sample in read_eval_log_sample_summaries(header.location) if sample.error]
        if failed:
            reason = str(failed[0].error).strip().splitlines()[0].rstrip(".")
            return CopsdError(
                f"Task {header.eval.task}: {len(failed)} failed (first {failed[0].id}: {reason}). The others "
                f"are kept in {folder}; the same command tries the failed ones again.",
                ExitCode.RUN,
            )
    return CopsdError(
        f"The run did not finish; see {folder} with `copsd-bench view`, then repeat the command.", ExitCode.RUN
    )
