"""`copsd-bench`: the command line. Commands live in `copsd_bench/commands`, one file each."""

from typing import Annotated

import typer

from copsd_bench import __version__
from copsd_bench.command_line import make_app, run_app
from copsd_bench.commands import data, judge, models
from copsd_bench.commands.check import check
from copsd_bench.commands.compare import compare
from copsd_bench.commands.leaderboard import leaderboard
from copsd_bench.commands.list import list_all
from copsd_bench.commands.run import run
from copsd_bench.commands.score import score
from copsd_bench.commands.view import view

app = make_app("copsd-bench")
app.command("run")(run)
app.command("list")(list_all)
app.command("score")(score)
app.command("compare")(compare)
app.command("check")(check)
app.command("leaderboard")(leaderboard)
app.command("view")(view)
app.add_typer(data.app)
app.add_typer(models.app)
app.add_typer(judge.app, name="judge")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"copsd-bench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Did a safety-aligned language model become safer, or only shorter?

    Runs benchmarks on Inspect with a collapse panel beside every score.
    """


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
