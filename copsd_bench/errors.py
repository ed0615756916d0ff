"""The one exception users see: a sentence that says what is wrong, where, and what to do; and its exit code."""

import difflib
from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

INTERRUPTED = "Interrupted; the same command continues where it stopped."


class ExitCode(IntEnum):
    """Documented exit codes of `copsd-bench`."""

    OK = 0
    REGRESSION = 1  # `check`: the gate is red
    USAGE = 2  # bad input: unknown name, bad option, unusable or incomparable record
    UNDECIDED = 3  # `check`: too few items to decide
    DATA = 4  # a data file is missing, altered or unreachable
    MODEL = 5  # a model, adapter or tokenizer cannot be used
    RUN = 6  # the run itself failed (some samples could not be generated or scored)
    DISK = 7  # the disk is full or a file cannot be written
    BUG = 70  # an error that this project did not foresee; never mistaken for a red gate
    INTERRUPTED = 130  # Ctrl-C; the same command continues


class CopsdError(Exception):
    """A one-sentence error for the user. `str(error)` is printed as it is; no traceback is shown."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message = message  # what Inspect writes into its logs, in place of the error's repr
        self.code = code


MOST = 40
"""Valid names that a message lists."""


def unknown_name(kind: str, name: str, valid: Iterable[str], code: ExitCode = ExitCode.USAGE) -> CopsdError:
    """An error for a name that is not known, with the nearest valid ones."""
    choices = sorted(valid)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    more = f" and {len(choices) - MOST} more" if len(choices) > MOST else ""
    hint = f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(choices[:MOST])}{more}."
    return CopsdError(f"Unknown {kind} {name!r}; {hint}", code)


def first_problem(error: "ValidationError", whole: str = "the top level") -> tuple[str, str]:
    """Where pydantic found the first problem (`whole` if in no field), and what it is, without a full stop."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]) or whole, first["msg"].removeprefix("Value error, ")
