"""`copsd-bench leaderboard`: many runs in one table."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from copsd_bench.commands._show import show


class TableFormat(StrEnum):
    """Formats of `leaderboard`."""

    table = "table"
    markdown = "markdown"
    csv = "csv"


FOLDERS = (Path("runs"), Path("results"))
"""Searched where nothing is named: where `run` writes, and what a repository keeps."""


def leaderboard(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATHS]...",
            help="Records, or folders searched for them; default: `runs` and `results`, if they are here.",
        ),
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Only runs of this suite.", show_default=False)] = None,
    form: Annotated[TableFormat, typer.Option("--format", help="Output format.")] = TableFormat.table,
    out: Annotated[Path | None, typer.Option(help="Write to a file instead of the terminal.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write one self-contained web page instead, with the figures papers report apart from the measured.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show many runs side by side: scores with their uncertainty, and the collapse panel.

    Runs stand in one block only if they answered the same items under the same settings (data, task version, judges,
    token limit, sampling, epochs). What does not compare stands apart, with the reason. With `--suite copsd` the
    paper's own tables follow, marked as reported, with what is known to be unusual about them.

    Example: `copsd-bench leaderboard results --suite mini --format markdown --out LEADERBOARD.md`

    Example: `copsd-bench leaderboard results --html leaderboard.html`
    """
    from copsd_bench.records import leaderboard as board
    from copsd_bench.records.beside import beside
    from copsd_bench.records.reported import all_reported
    from copsd_bench.records.store import find_records, read_record
    from copsd_bench.suites import SUITES

    records = [read_record(path) for path in find_records(paths or [path for path in FOLDERS if path.is_dir()])]
    of_suite = [record for record in records if suite is None or record.suite == suite]
    columns = 6 if form == TableFormat.table else None
    reported = beside(all_reported(), of_suite, SUITES.get(suite or "", ()), columns and 4)
    # A suite that papers report needs no measured run to be shown.
    blocks = [] if reported and not of_suite else board.leaderboard(records, suite)
    if html is not None:
        from copsd_bench.commands._show import file_named
        from copsd_bench.records.store import write_text
        from copsd_bench.report.board import board as page

        write_text(file_named("--html", html), page(blocks, all_reported()))
        print(f"Page: {html}")
        return
    parts = [*board.leaderboard_parts(blocks, tasks_per_grid=columns), *reported]
    show(parts, form, out, {"csv": lambda: board.leaderboard_csv(blocks)})
