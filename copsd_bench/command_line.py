"""What both command lines share: Typer's settings, and errors as one sentence with a documented exit code."""

import errno
import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from copsd_bench import __version__
from copsd_bench.errors import INTERRUPTED, CopsdError, ExitCode

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
"""A full or read-only disk, a folder of somebody else, or a file where a folder should be."""


class _Commands(TyperGroup):
    """Typer ends a command at Ctrl-C without a word; this says how to go on."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise CopsdError(INTERRUPTED, ExitCode.INTERRUPTED) from error


def make_app(name: str) -> typer.Typer:
    """A command line without commands."""
    return typer.Typer(
        name=name,
        cls=_Commands,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        print(f"{context.find_root().info_name} {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_print_version)]
"""The option `--version` of a command line."""


def run_app(app: typer.Typer) -> None:
    """Run a command line; a `CopsdError` becomes one sentence on stderr and its documented exit code.

    What nobody foresaw keeps its traceback, for a report, and has an exit code of its own: 1 would read as a red gate.
    """
    try:
        app()
    except CopsdError as error:
        _fail(str(error), error.code)
    except KeyboardInterrupt:
        _fail(INTERRUPTED, ExitCode.INTERRUPTED)
    except OSError as error:
        what = "Cannot write" if error.errno in UNWRITABLE else "Cannot use"
        remedy = "free the disk or choose --out" if error.errno in UNWRITABLE else "check the path, or choose --out"
        _fail(f"{what} {error.filename or 'a file'}: {error.strerror or error}; {remedy}.", ExitCode.DISK)
    except Exception as error:
        traceback.print_exc()
        _fail(f"This is a bug ({type(error).__name__}); please report it with the lines above.", ExitCode.BUG)


def _fail(sentence: str, code: ExitCode) -> NoReturn:
    sys.stdout.flush()
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(int(code))
