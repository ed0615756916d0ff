"""What a dry run prints: the model, the tasks with their sizes and data, and where results would go."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from copsd_bench.run import Plan


def print_plan(planned: "Plan", console: Console) -> None:
    """Print a checked run that was not executed."""
    from copsd_bench.benchmarks.task import KEY, TaskSpec

    config, model = planned.config, planned.model
    adapter = f" + {model.adapter}" if model.adapter else ""
    console.print(f"[bold]{escape(model.name + adapter)}[/bold]  {model.engine} {model.dtype} {model.device}")
    console.print(f"weights {model.weights_digest[:16]}  template {model.template_digest[:16] or 'none'}")
    respond = "" if config.respond == "direct" else f"  respond {config.respond}"
    console.print(f"constitution {planned.constitution.mode}{respond}  judge {config.judge or 'refusal (offline)'}")
    if planned.reference is not None:
        reference = planned.reference.info
        console.print(f"reference {escape(reference.name)}  constitution {reference.constitution.mode}")
    table = Table("Task", "Version", "Items", "Answers", "Max tokens", "Data", "Primary metric")
    for task in planned.tasks:
        spec = TaskSpec.model_validate((task.metadata or {})[KEY])
        items = min(len(task.dataset), config.limit or len(task.dataset))
        limit = config.max_tokens or task.config.max_tokens
        data = f"{spec.dataset.source}@{spec.dataset.revision[:8]}"
        answers = items * (2 * spec.rollouts if spec.summary else config.epochs)
        table.add_row(task.name, str(task.version), str(items), str(answers), str(limit), data, spec.primary)
    console.print(table)
    for note in planned.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}")
    console.print(f"Record: {planned.record_path}\nLogs:   {planned.log_dir}")
