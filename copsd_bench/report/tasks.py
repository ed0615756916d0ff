"""Which tasks' answers a chart is drawn from."""

from collections.abc import Sequence

from copsd_bench.report.sides import Side, tasks_of


def answer_tasks(sides: Sequence[Side], preferred: str) -> list[str]:
    """Tasks with answers of their own, and one of those against a reference, which share their answers.

    Args:
        preferred: the task against a reference that is taken if it was run; else the first of them.
    """
    shared = {task.name for side in sides if side.record for task in side.record.tasks if task.reference is not None}
    own = [name for name in tasks_of(sides) if name not in shared]
    first = [name for name in tasks_of(sides) if name in shared]
    return own + ([preferred] if preferred in shared else first[:1])


def heading(title: str, task: str, tasks: Sequence[str]) -> str:
    """A chart's title, with the task its answers are from if there are several."""
    return f"{title}: {task.replace('_', ' ')}" if len(tasks) > 1 else title
