"""Reading and writing records: atomically, and only in schemas this version knows."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from copsd_bench.errors import CopsdError, ExitCode, first_problem
from copsd_bench.records.schema import SCHEMA_VERSION, RunRecord

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From an older schema version to the next one: `MIGRATIONS[1]` turns a version 1 payload into version 2."""

ROWS = ("samples", "reference_samples")
"""Lists of a task with one row a sample."""

_HEAD = 4096  # bytes in which a record names its schema; it is the first key that is written


def write_record(record: RunRecord, path: Path) -> Path:
    """Write a record as JSON, one line a sample. Who reads meanwhile sees the old file or the new, never a part.

    Numbers that are not finite become null (unscored).

    Raises:
        OSError: the disk is full or the folder cannot be written; an existing file stays as it was.
    """
    write_text(path, _to_json(record))
    return path


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically: temporary file in the same folder, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_record(path: Path) -> RunRecord:
    """Read a record; one of an older schema is migrated.

    Raises:
        CopsdError: no such file; not JSON; not a record; a schema that is newer, or older without a migration.
    """
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CopsdError(f"There is no record {path}; give the JSON file that `copsd-bench run` wrote.") from error
    except IsADirectoryError as error:
        raise CopsdError(f"{path} is a folder; give one record file in it.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CopsdError(
            f"Record {path} is not valid JSON ({error}); it was cut or altered: restore it or repeat the run."
        ) from error
    if not isinstance(payload, dict) or not isinstance(payload.get("schema_version"), int):
        raise CopsdError(
            f"{path} is not a record of copsd-bench: it has no schema_version; give the JSON file "
            "that `copsd-bench run` wrote."
        )
    payload = _migrate(payload, path)
    try:
        return RunRecord.model_validate(payload)
    except ValidationError as error:
        where, what = first_problem(error)
        raise CopsdError(f"Record {path} is wrong at {where}: {what}; repeat the run.") from error


def find_records(paths: Iterable[Path]) -> list[Path]:
    """Record files among files and folders (searched recursively; JSON without a record schema is passed over).

    Raises:
        CopsdError: a path does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found |= dict.fromkeys(file for file in sorted(path.rglob("*.json")) if _looks_like_record(file))
        elif path.is_file():
            found[path] = None
        else:
            raise CopsdError(f"There is no record or folder {path}; check the path.", ExitCode.USAGE)
    return list(found)


def _looks_like_record(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"schema_version"' in file.read(_HEAD)


def _migrate(payload: dict[str, Any], path: Path) -> dict[str, Any]:
    version = payload["schema_version"]
    if version > SCHEMA_VERSION:
        raise CopsdError(
            f"Record {path} follows schema {version}, newer than this version's schema {SCHEMA_VERSION}; upgrade copsd."
        )
    while version < SCHEMA_VERSION:
        if version not in MIGRATIONS:
            raise CopsdError(
                f"Record {path} follows schema {version}, which this version (schema {SCHEMA_VERSION}) "
                "can no longer read; repeat the run."
            )
        payload = MIGRATIONS[version](payload)
        version += 1
        payload["schema_version"] = version
    return payload


def _to_json(record: RunRecord) -> str:
    payload = json.loads(record.model_dump_json())
    lines: list[str] = []
    for task, written in zip(record.tasks, payload["tasks"], strict=True):
        for name in [name for name in written if name in ROWS]:
            rows = [json.loads(row.model_dump_json(exclude_defaults=True)) for row in getattr(task, name)]
            lines += [json.dumps(row, ensure_ascii=False) for row in rows]
            written[name] = ["\0"] * len(rows)
    # Indented for people and diffs, but a sample on a line: each "\0" stands for one row.
    pieces = json.dumps(payload, indent=1, ensure_ascii=False, allow_nan=False).split('"\\u0000"')
    return "".join(piece + line for piece, line in zip(pieces, [*lines, ""], strict=True)) + "\n"
