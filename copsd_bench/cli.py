"""`copsd-bench`: the command line. Commands live in `copsd_bench/commands`, one file each."""

from copsd_bench.command_line import Version, make_app, run_app
from copsd_bench.commands import data, judge, models
from copsd_bench.commands.check import check
from copsd_bench.commands.compare import compare
from copsd_bench.commands.leaderboard import leaderboard
from copsd_bench.commands.list import list_all
from copsd_bench.commands.report import report
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
app.command("report")(report)
app.command("view")(view)
app.add_typer(data.app)
app.add_typer(models.app)
app.add_typer(judge.app, name="judge")


@app.callback()
def options(version: Version = False) -> None:
    """Did a safety-aligned language model become safer, or only shorter?

    Runs benchmarks on Inspect with a collapse panel beside every score.
    """


def main() -> None:
    """Run the command line."""
    run_app(app)


if __name__ == "__main__":
    main()
