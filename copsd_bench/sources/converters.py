"""Where a benchmark's sources have different schemas: one schema for all of them, the one its Inspect task expects."""

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]


def xstest(record: Record) -> Record:
    """The authors' csv has an `id` and empty notes, the hub's copy has neither an `id` nor the csv's column order."""
    return {key: record[key] or "" for key in ("prompt", "type", "label", "focus", "note")}


def ifeval(record: Record) -> Record:
    """A table has a column for every argument of every instruction: arguments an instruction does not take are None."""
    kwargs = [{key: value for key, value in given.items() if value is not None} for given in record["kwargs"]]
    return {**record, "kwargs": kwargs}


CONVERTERS: dict[str, Callable[[Record], Record]] = {"xstest": xstest, "ifeval": ifeval}
