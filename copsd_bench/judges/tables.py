"""Tables of prompts and answers in files: csv or jsonl, read and written row by row."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from copsd_bench.errors import CopsdError, ExitCode

Format = Literal["csv", "jsonl"]
FORMATS: tuple[Format, ...] = ("csv", "jsonl")
Row = dict[str, Any]


def format_of(path: Path) -> Format:
    """The format that a file's extension names.

    Raises:
        CopsdError: it is neither csv nor jsonl.
    """
    for name in FORMATS:
        if path.suffix.lower() == f".{name}":
            return name
    raise CopsdError(f"{path} has the extension {path.suffix or '(none)'!r}; give a .csv or .jsonl file.")


def read_rows(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, Row]]:
    """Rows of a csv or jsonl file with their line numbers; `required` columns are texts in every row.

    Raises:
        CopsdError: no such file, unknown extension, no rows, not UTF-8, a missing column, a broken line (its number).
    """
    kind = format_of(path)
    if not path.is_file():
        raise CopsdError(f"There is no file {path}; check the path.", ExitCode.DATA)
    count = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in _csv_rows(path, file) if kind == "csv" else _jsonl_rows(path, file):
                _check(path, line, row, required)
                count += 1
                yield line, row
    except UnicodeDecodeError as error:
        raise CopsdError(f"{path} is not UTF-8 text (byte {error.start} of a block); save it as UTF-8.") from error
    if not count:
        wanted = f"the columns {', '.join(required)}" if required else "at least one"
        raise CopsdError(f"{path} has no rows; give a file with {wanted}.")


def _csv_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.DictReader(file)
    try:
        for row in reader:
            if None in row:
                raise CopsdError(f"{path} line {reader.line_num} has more fields than the header; quote its commas.")
            yield reader.line_num, row
    except csv.Error as error:
        raise CopsdError(f"{path} line {reader.line_num} is not valid CSV: {error}.") from error


def _jsonl_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, Row]]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise CopsdError(f"{path} line {line} is not valid JSON: {error.msg} at column {error.colno}.") from error
        if not isinstance(row, dict):
            raise CopsdError(f"{path} line {line} is not a JSON object; give one object with named columns a line.")
        yield line, row


def _check(path: Path, line: int, row: Mapping[str, Any], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in row]
    if missing:
        raise CopsdError(
            f"{path} line {line} has no column {' and no column '.join(missing)} (it has {', '.join(map(str, row))}); "
            f"rename its columns to {', '.join(required)}."
        )
    for name in required:
        if not isinstance(row[name], str):
            raise CopsdError(
                f"{path} line {line}: column {name} is {row[name]!r}, not a text; give a text or remove the row."
            )


@contextmanager
def writer(out: Path | None, kind: Format) -> Iterator[Callable[[Row], None]]:
    """A function that writes one row to a csv or jsonl file, or to stdout when `out` is None.

    A file appears under its name only when everything is written; until then it is `NAME.part`.

    Raises:
        CopsdError: a row has other columns than the first (csv).
    """
    if out is None:
        yield _row_writer(sys.stdout, kind)
        return
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield _row_writer(file, kind)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _row_writer(file: IO[str], kind: Format) -> Callable[[Row], None]:
    if kind == "jsonl":
        return lambda row: print(json.dumps(row, ensure_ascii=False), file=file)
    table: csv.DictWriter[str] | None = None

    def write(row: Row) -> None:
        nonlocal table
        if table is None:
            table = csv.DictWriter(file, fieldnames=list(row))
            table.writeheader()
        if list(row) != list(table.fieldnames):
            raise CopsdError(
                f"A row has the columns {', '.join(row)}, the first one {', '.join(table.fieldnames)}; "
                "write rows of different columns with --format jsonl."
            )
        table.writerow(row)

    return write
