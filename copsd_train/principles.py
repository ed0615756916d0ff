"""The principles of constitutional AI: what to criticise, how to revise, and which of two replies to prefer."""

import random
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from copsd_bench.constitution import constitutions_dir
from copsd_bench.errors import CopsdError, first_problem, unknown_name
from copsd_bench.yaml_file import read_mapping
from copsd_train.corpora.schema import Kind

PACKAGED = "cai_principles"


class Principle(BaseModel):
    """One principle (arXiv 2212.08073, sections 3.1 and 4.1).

    Attributes:
        id: its name in provenance.
        critique: asks for a critique of the last reply.
        revision: asks to write that reply again.
        compare: asks which of two replies is better.
        weight: how often it is drawn, relative to the others; the paper draws evenly.
        kinds: the kinds of prompts it is drawn for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(min_length=1)
    critique: str = Field(min_length=20)
    revision: str = Field(min_length=20)
    compare: str = Field(min_length=20)
    weight: float = Field(default=1.0, gt=0)
    kinds: list[Kind] = Field(default=["safety", "over_refusal", "general"], min_length=1)


class Demonstration(BaseModel):
    """A conversation to learn the form from: a question, a poor draft, its critique under a principle, the revision."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    principle: str
    prompt: str = Field(min_length=1)
    draft: str = Field(min_length=1)
    critique: str = Field(min_length=1)
    revision: str = Field(min_length=1)


class Principles(BaseModel):
    """A set of principles, with demonstrations."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    principles: list[Principle] = Field(min_length=1)
    demonstrations: list[Demonstration] = []

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [principle.id for principle in self.principles]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the id {min(twice)!r} occurs twice")
        if unknown := {demonstration.principle for demonstration in self.demonstrations} - set(names):
            raise ValueError(f"a demonstration follows the principle {min(unknown)!r}, which is not there")
        return self

    def draw(self, kind: Kind, seed: int) -> Principle:
        """A principle for a prompt of this kind, by weight.

        Raises:
            CopsdError: none is for this kind.
        """
        fitting = [principle for principle in self.principles if kind in principle.kinds]
        if not fitting:
            raise CopsdError(f"The principles {self.name} have none for prompts of kind {kind}; add it to some kinds.")
        weights = [principle.weight for principle in fitting]
        return random.Random(seed).choices(fitting, weights)[0]

    def named(self, name: str) -> Principle:
        """The principle with this id."""
        return next(principle for principle in self.principles if principle.id == name)

    def demonstrated(self, count: int) -> list[Demonstration]:
        """The first demonstrations.

        Raises:
            CopsdError: there are not so many.
        """
        if count > len(self.demonstrations):
            raise CopsdError(
                f"few_shot asks for {count} demonstrations, but the principles {self.name} have "
                f"{len(self.demonstrations)}; lower it or add some."
            )
        return self.demonstrations[:count]


@cache
def load_principles(name: str = PACKAGED) -> Principles:
    """The packaged principles, or a file by path.

    Raises:
        CopsdError: no such file, or it does not follow the schema (which principle and field, and why).
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else constitutions_dir() / f"{name}.yaml"
    if path.parent == constitutions_dir() and not path.is_file():
        raise unknown_name("set of principles", name, [PACKAGED])
    raw = read_mapping(path, "Principles", f"name: {PACKAGED}")
    try:
        return Principles.model_validate(raw)
    except ValidationError as error:
        where, what = first_problem(error)
        _, _, rest = where.partition("principles.")
        if rest:  # a number says little in a list of sixteen
            place, _, field = rest.partition(".")
            given = raw["principles"][int(place)]
            named = given.get("id", f"number {int(place) + 1}") if isinstance(given, dict) else f"number {place}"
            where = f"principle {named}, field {field}" if field else f"principle {named}"
        raise CopsdError(f"Principles file {path} is wrong at {where}: {what}.") from error
