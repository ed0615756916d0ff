"""Rows of rollouts made by hand."""

from typing import Any

from copsd_bench.collapse.rows import Rows
from copsd_bench.records.schema import SampleRow


def row(item: str, rollout: int = 1, **fields: Any) -> SampleRow:
    """One rollout; the prompt's class is the id's first part (`harmful-3`)."""
    return SampleRow(id=item, epoch=rollout, group=item.split("-")[0], **fields)


def side(values: dict[str, list[dict[str, Any]]]) -> list[SampleRow]:
    """Rows of a side: the fields of each rollout by prompt."""
    return [row(item, i, **fields) for item, each in values.items() for i, fields in enumerate(each, start=1)]


def rows(model: dict[str, list[dict[str, Any]]], reference: dict[str, list[dict[str, Any]]]) -> Rows:
    """Rows of both sides."""
    return Rows(side(model), side(reference))
