"""Showing tables of records in the format asked for, on the terminal or in a file."""

import io
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from copsd_bench.errors import CopsdError

if TYPE_CHECKING:
    from rich.console import Console

    from copsd_bench.records.grid import Grid

_WIDTH = 100  # of tables that do not go to a terminal


class ReportFormat(StrEnum):
    """Formats of `compare` and `check`."""

    table = "table"
    markdown = "markdown"
    json = "json"


def show(
    parts: "Sequence[Grid | str]", form: str, out: Path | None, special: dict[str, Callable[[], str]] | None = None
) -> None:
    """Print tables and lines of text, or write them to `out` (atomically).

    Args:
        parts: tables and paragraphs in order.
        form: `table`, `markdown`, or a key of `special`.
        special: formats made otherwise (json, csv).
    """
    from rich.console import Console

    from copsd_bench.records.store import write_text

    if form == "table" and out is None:
        console = Console()
        _print(console if console.is_terminal else Console(width=max(_WIDTH, console.width)), parts)
        return
    if form == "table":
        text = io.StringIO()
        _print(Console(file=text, width=_WIDTH), parts)
        content = text.getvalue()
    elif form == "markdown":
        content = "\n".join(_markdown(part) for part in parts)
    else:
        content = (special or {})[form]()
    if out is None:
        print(content, end="" if content.endswith("\n") else "\n")
        return
    write_text(file_named("--out", out), content)


def file_named(option: str, path: Path) -> Path:
    """The path, if it can be a file.

    Raises:
        CopsdError: it is a folder.
    """
    if path.is_dir():
        raise CopsdError(f"{option} {path} is a folder; give a file name.")
    return path


def _markdown(part: "Grid | str") -> str:
    return part.replace("\n", "  \n") + "\n" if isinstance(part, str) else part.markdown()


def _print(console: "Console", parts: "Sequence[Grid | str]") -> None:
    for part in parts:
        if isinstance(part, str):
            console.print(part, markup=False, highlight=False)
        else:
            console.print(part.rich())
