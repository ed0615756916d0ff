"""Put the output of commands into README.md: `python results/readme.py`.

A block between `<!-- output: COMMAND -->` and `<!-- end -->` is what the command prints (markdown as it is, anything
else as a code block); one after `<!-- record: FILE -->` is the table that `copsd-bench run` prints for that record; one
after `<!-- table: FILE -->` the first table of a markdown file. All read what is committed, so they take no model;
tests/test_readme.py fails when a block is stale.
"""

import io
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent
WIDTH = 100
BLOCK = re.compile(r"(<!-- (?P<kind>output|record|table): (?P<what>.+?) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)


def output(command: str) -> str:
    """What a command prints, run in this process at the repository's root and without a data mirror."""
    from typer.testing import CliRunner

    from copsd_bench.cli import app

    env = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "COPSD_DATA_DIR": ""}
    result = CliRunner().invoke(app, shlex.split(command)[1:], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def result_table(record: str) -> str:
    """What `copsd-bench run` prints for a record at its end."""
    from rich.console import Console

    from copsd_bench.records.store import read_record
    from copsd_bench.records.table import print_results

    console = Console(file=io.StringIO(), width=WIDTH, record=True)
    print_results(read_record(Path(record)), console)
    return console.export_text()


def first_table(file: str) -> str:
    """The first table of a markdown file."""
    tables = re.search(r"^\|.*(?:\n\|.*)*", Path(file).read_text(encoding="utf-8"), re.MULTILINE)
    if tables is None:
        raise SystemExit(f"{file} has no table.")
    return tables[0]


def updated(text: str) -> str:
    """The README with every block's body replaced by its command's output."""

    def fill(match: re.Match[str]) -> str:
        kind, what = match["kind"], match["what"]
        printed = {"output": output, "record": result_table, "table": first_table}[kind](what)
        lines = [line.rstrip() for line in printed.strip().splitlines()]
        markdown = kind == "table" or "--format markdown" in what
        body = "\n".join(lines if markdown else ["```text", *lines, "```"])
        return f"{match[1]}\n{body}\n\n{match[5]}"

    return BLOCK.sub(fill, text)


if __name__ == "__main__":
    import os

    os.chdir(ROOT)
    readme = Path("README.md")
    readme.write_text(updated(readme.read_text(encoding="utf-8")), encoding="utf-8")
