"""The items of the `mini` benchmark: written for this project, packaged with it, and usable offline."""

from functools import cache
from importlib.resources.abc import Traversable

from pydantic import model_validator

from copsd_bench.benchmarks.checks import Check
from copsd_bench.benchmarks.items import HARM_CATEGORIES, PackagedItem, load_items, packaged, parse_items

FILE = "mini.jsonl"
GENERAL_CATEGORIES = ("arithmetic", "reasoning", "instructions")


class MiniItem(PackagedItem):
    """One prompt of the benchmark; `general` is verifiable work.

    Attributes:
        category: one of `HARM_CATEGORIES`, or of `GENERAL_CATEGORIES` for the group `general`.
        check: how the answer is verified (`general` only).
    """

    check: Check | None

    @model_validator(mode="after")
    def _group_agrees(self) -> "MiniItem":
        general = self.group == "general"
        if self.category not in (GENERAL_CATEGORIES if general else HARM_CATEGORIES):
            raise ValueError(f"category {self.category!r} does not belong to group {self.group!r}")
        if general != (self.check is not None) or general != (self.twin is None):
            raise ValueError("a general item needs a check and no twin, any other item a twin and no check")
        return self


def mini_file() -> Traversable:
    """The packaged file: JSON Lines, a header object with the canary and then one item a line."""
    return packaged(FILE)


@cache
def load_mini_items() -> tuple[MiniItem, ...]:
    """All items of the packaged file (see `load_items`)."""
    return load_items(FILE, MiniItem)


def parse_mini_items(text: str, source: str) -> tuple[MiniItem, ...]:
    """Items from the text of a file (see `parse_items`)."""
    return parse_items(text, source, MiniItem)
