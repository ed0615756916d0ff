"""How far a run is, read from its folder alone."""

from pathlib import Path

from copsd_train.load_recipe import validated
from copsd_train.progress import SHOWN
from copsd_train.run_folder import RunFolder, read_info, read_lines


def show(folder: Path) -> None:
    """Print the stages of a run with their state and latest numbers.

    Raises:
        CopsdError: there is no run in the folder.
    """
    from rich.console import Console
    from rich.table import Table

    info = read_info(folder)
    recipe = validated(info["recipe"], str(folder))
    run = RunFolder(folder, recipe)
    lines = read_lines(folder / "metrics.jsonl")
    console = Console()
    console.print(f"{recipe.name} on {info['model']['name']}: {recipe.about}", highlight=False)
    table = Table("Stage", "State", "Steps", "Checkpoint", "Latest numbers", box=None)
    for stage in recipe.stages:
        logged = [line for line in lines if line["stage"] == stage]
        saved = run.checkpoints(stage)
        state = "finished" if run.finished(stage) else "under way" if logged or saved else "not begun"
        numbers = [f"{name} {logged[-1][key]:.4g}" for key, name in SHOWN.items() if logged and key in logged[-1]]
        steps = str(logged[-1]["step"]) if logged else ""
        table.add_row(stage, state, steps, str(saved[-1].step) if saved else "", "  ".join(numbers))
    console.print(table)
