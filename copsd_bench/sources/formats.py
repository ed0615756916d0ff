"""Records from bytes: csv, tsv, json, jsonl, parquet, each also gzipped."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from copsd_bench.errors import CopsdError, ExitCode, unknown_name

Record = dict[str, Any]

_LONGEST_FIELD = 1 << 24  # characters; the csv module's default of 131,072 is too short for model answers


def parse(data: bytes, name: str, records: str = "", keyed_by: str = "") -> list[Record]:
    """The records of a file, by its name's ending.

    Args:
        data: the file's content.
        name: path or file name, for the ending and for messages.
        records: of a JSON object with several lists of records, the wanted list's name.
        keyed_by: of a JSON object of records, the field that takes their keys.

    Raises:
        CopsdError: unknown ending, empty or malformed content (exit code DATA).
    """
    stem = name.removesuffix(".gz")
    suffix = stem.rsplit(".", 1)[-1].lower()
    if suffix not in _PARSERS:
        raise unknown_name("data format", suffix, _PARSERS, ExitCode.DATA)
    if not data.strip():
        raise CopsdError(f"{name} is empty; copy or download it again.", ExitCode.DATA)
    try:
        content = gzip.decompress(data) if stem != name else data
        found = _named(content, records, keyed_by) if records or keyed_by else _PARSERS[suffix](content)
    except (ValueError, csv.Error, EOFError, OSError, zlib.error) as error:
        raise CopsdError(
            f"{name} is not valid {suffix} ({error}); copy or download it again.", ExitCode.DATA
        ) from error
    if not found or not all(isinstance(record, dict) for record in found):
        raise CopsdError(f"{name} holds no records; copy or download it again.", ExitCode.DATA)
    return found


def _csv(data: bytes, delimiter: str = ",") -> list[Record]:
    csv.field_size_limit(_LONGEST_FIELD)
    text = io.StringIO(data.decode("utf-8-sig"), newline="")
    rows = list(csv.DictReader(text, delimiter=delimiter, strict=True))
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ValueError(f"record {number} has another number of columns than the header")
    return rows


def _tsv(data: bytes) -> list[Record]:
    return _csv(data, delimiter="\t")


def _json(data: bytes) -> list[Record]:
    value = json.loads(data)
    if texts := list(_texts(value, ())):
        return texts
    if isinstance(value, dict):  # a wrapper such as {"canary": ..., "examples": [...]}
        lists = [item for item in value.values() if isinstance(item, list)]
        if len(lists) != 1:
            raise ValueError("neither a list of records nor an object with one list of records")
        value = lists[0]
    return list(value)


def _named(data: bytes, records: str, keyed_by: str) -> list[Record]:
    """The records of a JSON object by name: a list in it, or its values."""
    value = json.loads(data)
    if not isinstance(value, dict) or (records and not isinstance(value.get(records), list)):
        raise ValueError(f"no object with a list {records!r}" if records else "no object of records")
    if records:
        return list(value[records])
    if not all(isinstance(record, dict) for record in value.values()):
        raise ValueError("no object of records")
    return [{keyed_by: key, **record} for key, record in value.items()]


def _texts(value: Any, path: tuple[str, ...]) -> Iterator[Record]:
    """The texts of lists below any number of headings: `{"fruit": {"red": ["apple"]}}` is one record."""
    if isinstance(value, dict):
        for heading, below in value.items():
            yield from _texts(below, (*path, heading))
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield from ({"text": item, "headings": list(path)} for item in value)


def _jsonl(data: bytes) -> list[Record]:
    # Not splitlines(): records may hold Unicode line separators inside strings.
    return [json.loads(line) for line in data.decode("utf-8-sig").split("\n") if line.strip()]


def _parquet(data: bytes) -> list[Record]:
    import pyarrow.parquet

    rows: list[Record] = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
    return rows


_PARSERS: dict[str, Callable[[bytes], list[Record]]] = {
    "csv": _csv,
    "tsv": _tsv,
    "json": _json,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
