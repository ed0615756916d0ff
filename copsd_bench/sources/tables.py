"""Parquet files with a column of images: the records without the bytes, and the images a row group at a time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from copsd_bench.errors import CopsdError, ExitCode

SEPARATOR = "#"


def file_sha256(path: Path) -> str:
    """sha256 of a file that need not fit into memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def table_name(path: Path) -> str:
    """What a table is called in the names of its images: its folder (the subset of several) and its file name."""
    return f"{path.parent.name}/{path.name}"


def table_records(path: Path, column: str) -> list[dict[str, Any]]:
    """The records of a table; in place of the image each has its name, `FOLDER/FILE#ROW`.

    Raises:
        CopsdError: it is no parquet file, or has no such column.
    """
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name != column]
        if len(names) == len(file.schema_arrow.names):
            raise CopsdError(
                f"{path} has no column {column!r} of images; its columns: {', '.join(names)}.", ExitCode.DATA
            )
        rows: list[dict[str, Any]] = file.read(columns=names).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise CopsdError(f"{path} is not valid parquet ({error}); download it again.", ExitCode.DATA) from error
    return [{**row, column: f"{table_name(path)}{SEPARATOR}{number}"} for number, row in enumerate(rows)]


def image_cells(path: Path, column: str, row: int) -> Iterator[tuple[int, bytes | None]]:
    """The images of the row group that holds a row, each with its row's number; None where a row has no image.

    Raises:
        CopsdError: the table has no such row, or its column holds no images' bytes.
    """
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    first = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if row < first + count:
            break
        first += count
    else:
        raise CopsdError(f"{path} has no row {row}; download it again.", ExitCode.DATA)
    for number, cell in enumerate(file.read_row_group(group, columns=[column])[column], start=first):
        value = cell.as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is not None and not isinstance(content, bytes):
            raise CopsdError(f"{path}: column {column!r} holds no images (row {number}).", ExitCode.DATA)
        yield number, content
