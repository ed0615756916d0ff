"""Judge the answers behind a committed record again, from its logs, when the rules of the refusal judge have changed.

python results/rejudge.py RECORD.json LOGS

LOGS is the folder of the run's logs; nothing is generated. The answers must be those of the record, and what it says of
when, where and how fast they were made stays.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import typer.main
from inspect_ai.log import list_eval_logs, read_eval_log

from copsd_bench.cli import app
from copsd_bench.config import RunConfig, run_config
from copsd_bench.evaluate import logged_answers, task_name
from copsd_bench.records.schema import TaskRecord
from copsd_bench.records.store import read_record, write_record
from copsd_bench.run import execute, plan


def settings(command: list[str], out: str) -> RunConfig:
    """A run's configuration from its command line."""
    context = typer.main.get_command(app).commands["run"].make_context("run", command[2:])  # type: ignore[attr-defined]
    given = {name: value or None for name, value in context.params.items() if name in RunConfig.model_fields}
    return run_config(None, {**given, "out": out, "display": "none"})


def answers(tasks: list[TaskRecord]) -> list[tuple[str, str, int, str]]:
    """What was answered, by task, sample and epoch."""
    return sorted((task.name, row.id, row.epoch, row.answer_digest) for task in tasks for row in task.samples)


def main(path: Path, logs: Path) -> None:
    """Rewrite a record with the verdicts of the judge as it is now."""
    old = read_record(path)
    with tempfile.TemporaryDirectory() as out:
        planned = plan(settings(old.command, out))
        places = {task_name(read_eval_log(log, header_only=True)): log.name for log in list_eval_logs(str(logs))}
        for task in planned.tasks:
            task.solver = logged_answers(places[task.name].removeprefix("file://"))
        recalled = replace(planned, model=planned.model.model_copy(update={"engine": "responses"}))
        new = execute(recalled, old.command)
    if answers(new.tasks) != answers(old.tasks):
        sys.exit(f"The logs in {logs} hold other answers than {path}.")
    seconds = {task.name: task.seconds for task in old.tasks}
    tasks = [task.model_copy(update={"seconds": seconds[task.name]}) for task in new.tasks]
    write_record(old.model_copy(update={"run_id": planned.identity, "tasks": tasks}), path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
