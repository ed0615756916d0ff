"""`copsd-train`: the command line."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from copsd_bench.command_line import Version, make_app, run_app
from copsd_train.commands.flip_rate import flip_rate
from copsd_train.commands.run_all import run_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from copsd_train.recipe import Recipe
    from copsd_train.run import Run

app = make_app("copsd-train")


@app.callback()
def options(version: Version = False) -> None:
    """Train by constitutional on-policy distillation and its neighbours: corpus, teacher, student."""


@app.command("list")
def list_recipes() -> None:
    """List the recipes: their stages, and what they are."""
    from rich.console import Console
    from rich.table import Table

    from copsd_train.load_recipe import load_recipe, recipe_names

    table = Table("Recipe", "Stages", "What it is", box=None)
    for name in recipe_names():
        recipe = load_recipe(name)
        table.add_row(name, " → ".join(recipe.stages), recipe.about)
    Console().print(table)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe (`copsd-train list`), or a YAML file.")],
    model: Annotated[str, typer.Option(help="Built-in name, local folder or hub id.")] = "smollm2-135m",
    out: Annotated[Path, typer.Option(help="Folder of the run; the same command continues it.")] = Path("runs/train"),
    changes: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a value of the recipe, e.g. `distill.steps=4`; may be repeated."
        ),
    ] = [],  # noqa: B006
    demo: Annotated[bool, typer.Option("--demo", help="The recipe at sizes for minutes on two cores.")] = False,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Run model code that comes with the weights.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Show memory and time it would need, and stop.")] = False,
    hardware: Annotated[str, typer.Option(help="For --estimate: a100, h100 or h200.")] = "a100",
    answer_tokens: Annotated[
        int | None, typer.Option(min=1, help="For --estimate: mean length of answers, else the longest.")
    ] = None,
) -> None:
    """Run a recipe, or continue the run in `--out`.

    Stages that are done are skipped; stopped or killed, the same command continues from the last checkpoint. What is
    trained lies in `RUN/student` (and `RUN/teacher`): an adapter for `copsd-bench run --adapter`, with `tuning: full` a
    model folder.

    Examples: `copsd-train run copsd --demo --out runs/demo`;
    `copsd-train run copsd --model my/model --set "prompts=[mine.jsonl]" --out runs/mine`;
    `copsd-train run copsd-vl --model Qwen/Qwen3-VL-4B-Instruct --estimate`.
    """
    from copsd_bench.models.resolve import resolve_model
    from copsd_bench.records.paths import published
    from copsd_train.load_recipe import load_recipe
    from copsd_train.run import Run

    def begin() -> Run:
        base = resolve_model(model, revision=revision, trust_remote_code=trust_remote_code)
        return Run.start(out, resolved, base, ["copsd-train", *map(published, sys.argv[1:])])

    resolved = load_recipe(recipe, changes, demo)
    if estimate:
        _estimate(resolved, model, revision, trust_remote_code, hardware, answer_tokens)
    else:
        _execute(begin)


@app.command()
def resume(run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]) -> None:
    """Continue an interrupted run, exactly where its last checkpoint left it."""
    from copsd_train.run import Run

    _execute(lambda: Run.open(run_folder))


@app.command()
def status(run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]) -> None:
    """Show how far a run is and its latest numbers."""
    from copsd_train.status import show

    show(run_folder)


@app.command()
def merge(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")],
    adapter: Annotated[str, typer.Option(help="Which one: `student` or `teacher`.")] = "student",
    out: Annotated[Path | None, typer.Option(help="New model folder; default RUN/merged-ADAPTER.")] = None,
) -> None:
    """Add a trained adapter into the base's weights: a model folder for any engine."""
    from copsd_bench.errors import CopsdError
    from copsd_train.adapters import merge as merge_adapter
    from copsd_train.run import Run

    found = Run.open(run_folder)
    folder = run_folder / adapter
    if found.recipe.tuning == "full" and folder.is_dir():
        raise CopsdError(f"{folder} is a model folder already, as tuning is full; there is nothing to merge.")
    if not (folder / "adapter_config.json").is_file():
        raise CopsdError(f"{run_folder} has no finished adapter {adapter!r}; see copsd-train status {run_folder}.")
    target = out or run_folder / f"merged-{adapter}"
    merge_adapter(found.base, folder, target)
    print(target)


app.command("run-all")(run_all)
app.command("flip-rate")(flip_rate)


def _estimate(
    recipe: "Recipe", model: str, revision: str | None, trust_remote_code: bool, hardware: str, answer: int | None
) -> None:
    from copsd_bench.models import estimate as models
    from copsd_train.estimate import estimate
    from copsd_train.estimate_table import show

    device = models.hardware(hardware)
    architecture = models.architecture(model, revision, trust_remote_code)
    show(estimate(recipe, architecture, device, answer), recipe, architecture, device, hardware)


def _execute(begin: "Callable[[], Run]") -> None:
    from copsd_bench.errors import CopsdError
    from copsd_train.ranks import Ranks

    ranks = Ranks()
    try:
        ranks.main_first(begin)  # one process makes the folder, then all open it
        run = begin()
        from copsd_train.stages import execute

        with run if ranks.main else nullcontext():
            execute(run, ranks)
    except CopsdError as error:
        if ranks.main:
            raise
        print(f"Process {ranks.rank}: {error}", file=sys.stderr)
        raise typer.Exit(int(error.code)) from error
    for stage in run.recipe.stages if ranks.main else ():
        print(f"{stage}: {run.output(stage)}")


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
