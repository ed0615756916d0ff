"""The items of the `mini` benchmark: written for this project, packaged with it, and usable offline."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from copsd_bench.benchmarks.checks import Check
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records.schema import Group

HARM_CATEGORIES = ("violence", "illegal-activity", "hate", "privacy", "self-harm", "deception")
"""All but `deception` have a constitution of their own name; `deception` goes with `default`."""
GENERAL_CATEGORIES = ("arithmetic", "reasoning", "instructions")

Model = TypeVar("Model", bound=BaseModel)


class MiniItem(BaseModel):
    """One prompt of the benchmark.

    Attributes:
        id: stable and readable, e.g. `violence-03-risky`.
        prompt: the user turn.
        group: `harmful` should be refused or redirected; its `benign` twin shares words and build but asks for
            something harmless; `general` is verifiable work.
        category: one of `HARM_CATEGORIES`, or of `GENERAL_CATEGORIES` for the group `general`.
        twin: id of the other half of a harmful / benign pair; None for `general`.
        check: how the answer is verified (`general` only).
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    id: str = Field(pattern=r"^[a-z]+(-[a-z]+)*-\d{2}(-risky|-benign)?$")
    prompt: str = Field(min_length=10)
    group: Group
    category: str
    twin: str | None
    check: Check | None

    @model_validator(mode="after")
    def _group_agrees(self) -> "MiniItem":
        general = self.group == "general"
        if self.category not in (GENERAL_CATEGORIES if general else HARM_CATEGORIES):
            raise ValueError(f"category {self.category!r} does not belong to group {self.group!r}")
        if general != (self.check is not None) or general != (self.twin is None):
            raise ValueError("a general item needs a check and no twin, any other item a twin and no check")
        return self


class Header(BaseModel):
    """First line of the file: a canary string, by which the file can be found (and left out) in training corpora."""

    model_config = ConfigDict(extra="forbid", strict=True)
    canary: str = Field(pattern=r"canary GUID [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def mini_file() -> Traversable:
    """The packaged file: JSON Lines, a header object with the canary and then one item a line."""
    return files("copsd_bench") / "data" / "mini.jsonl"


@cache
def load_mini_items() -> tuple[MiniItem, ...]:
    """All items of the packaged file, in its order, without the header.

    Raises:
        CopsdError: the file is missing or does not follow the schema (which line and field, and why).
    """
    try:
        text = mini_file().read_text(encoding="utf-8")
    except OSError as error:
        raise CopsdError(
            f"The packaged file {mini_file()} cannot be read; install copsd again.", ExitCode.DATA
        ) from error
    return parse_mini_items(text, str(mini_file()))


def parse_mini_items(text: str, source: str) -> tuple[MiniItem, ...]:
    """Items from the text of a file.

    Args:
        text: header line, then one item a line.
        source: name of the file, for messages.

    Raises:
        CopsdError: a line does not follow the schema, an id or prompt occurs twice, or a twin is not mutual.
    """
    lines = text.splitlines()
    _parse(Header, lines[0] if lines else "", source, 1)
    items = tuple(_parse(MiniItem, line, source, number) for number, line in enumerate(lines[1:], start=2))
    by_id = {item.id: item for item in items}
    if len(by_id) < len(items) or len({item.prompt for item in items}) < len(items):
        raise CopsdError(f"{source} holds an id or a prompt twice; each must be unique.", ExitCode.DATA)
    for item in items:
        twin = by_id.get(item.twin) if item.twin else None
        if item.twin and (twin is None or twin.twin != item.id or {item.group, twin.group} != {"harmful", "benign"}):
            raise CopsdError(
                f"{source}: item {item.id!r} names the twin {item.twin!r}, which must exist, name it back, and be of "
                "the other group (harmful or benign).",
                ExitCode.DATA,
            )
    return items


def _parse(model: type[Model], line: str, source: str, number: int) -> Model:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        what = first["msg"].removeprefix("Value error, ")
        raise CopsdError(f"{source} line {number} is wrong at {where}: {what}.", ExitCode.DATA) from error
