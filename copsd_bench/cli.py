"""`copsd-bench`: the command line. Commands live in `copsd_bench/commands`, one file each."""

import errno
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from copsd_bench import __version__
from copsd_bench.commands import data, judge, models
from copsd_bench.commands.check import check
from copsd_bench.commands.compare import compare
from copsd_bench.commands.leaderboard import leaderboard
from copsd_bench.commands.list import list_all
from copsd_bench.commands.report import report
from copsd_bench.commands.run import run
from copsd_bench.commands.score import score
from copsd_bench.commands.view import view
from copsd_bench.errors import INTERRUPTED, CopsdError, ExitCode


class _Commands(TyperGroup):
    """Typer ends a command at Ctrl-C without a word; this says how to go on."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise CopsdError(INTERRUPTED, ExitCode.INTERRUPTED) from error


app = typer.Typer(
    name="copsd-bench",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
    """Run the command line; a `CopsdError` becomes one sentence on stderr and its documented exit code."""
    try:
        app()
    except CopsdError as error:
        _fail(str(error), error.code)
    except KeyboardInterrupt:
        _fail(INTERRUPTED, ExitCode.INTERRUPTED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        _fail(
            f"Cannot write {error.filename or 'a file'}: {error.strerror}; free the disk or choose --out.",
            ExitCode.DISK,
        )


def _fail(sentence: str, code: ExitCode) -> None:
    sys.stdout.flush()
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(int(code))


if __name__ == "__main__":
    main()
