"""Prompts written for this project and packaged with it: JSON Lines, a header with the canary, then one item a line."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from copsd_bench.errors import CopsdError, ExitCode, first_problem
from copsd_bench.records.schema import Group

HARM_CATEGORIES = ("violence", "illegal-activity", "hate", "privacy", "self-harm", "deception")
"""All but `deception` have a constitution of their own name; `deception` goes with `default`."""


class PackagedItem(BaseModel):
    """One prompt.

    Attributes:
        id: stable and readable, e.g. `violence-03-risky`.
        prompt: the user turn.
        group: `harmful` should be refused or redirected; its `benign` twin shares words and build but asks for
            something harmless; `general` is neither.
        category: one of `HARM_CATEGORIES`; another name for the group `general`.
        twin: id of the other half of a harmful / benign pair; None for `general`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    id: str = Field(pattern=r"^[a-z]+(-[a-z]+)*-\d{2}(-risky|-benign)?$")
    prompt: str = Field(min_length=10)
    group: Group
    category: str
    twin: str | None


class Header(BaseModel):
    """First line of a file: a canary string, by which the file can be found (and left out) in training corpora."""

    model_config = ConfigDict(extra="forbid", strict=True)
    canary: str = Field(pattern=r"canary GUID [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item", bound=PackagedItem)


def packaged(name: str) -> Traversable:
    """A file of the package's data folder."""
    return files("copsd_bench") / "data" / name


def load_items(name: str, model: type[Item]) -> tuple[Item, ...]:
    """All items of a packaged file, in its order, without the header.

    Raises:
        CopsdError: the file is missing or does not follow the schema (which line and field, and why).
    """
    file = packaged(name)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise CopsdError(f"The packaged file {file} cannot be read; install copsd again.", ExitCode.DATA) from error
    return parse_items(text, str(file), model)


def parse_items(text: str, source: str, model: type[Item]) -> tuple[Item, ...]:
    """Items from the text of a file.

    Args:
        text: header line, then one item a line.
        source: name of the file, for messages.
        model: what a line holds.

    Raises:
        CopsdError: a line does not follow the schema, an id or prompt occurs twice, or a twin is not mutual.
    """
    lines = text.splitlines()
    _parse(Header, lines[0] if lines else "", source, 1)
    items = tuple(_parse(model, line, source, number) for number, line in enumerate(lines[1:], start=2))
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
        where, what = first_problem(error)
        raise CopsdError(f"{source} line {number} is wrong at {where}: {what}.", ExitCode.DATA) from error
