"""Constitutions: the texts a model is conditioned on, as validated YAML data."""

import hashlib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from copsd_bench.engine.context import SLOT, Context, Placement
from copsd_bench.errors import CopsdError, first_problem, unknown_name
from copsd_bench.yaml_file import read_mapping


class Route(BaseModel):
    """One of the three exclusive ways to answer, rendered as "When <when>: <do>"."""

    model_config = ConfigDict(extra="forbid")
    when: str = Field(min_length=20)
    do: str = Field(min_length=20)


class Routes(BaseModel):
    """The three exclusive routes: refuse and redirect; warn, then guide; otherwise just help."""

    model_config = ConfigDict(extra="forbid")
    refuse: Route
    warn: Route
    help: str = Field(min_length=20)


class Constitution(BaseModel):
    """A constitution on the structure of COPSD (arXiv 2606.03089, App. D.1), in this project's words.

    Attributes:
        name: identifier, the file's stem.
        title: for people.
        category: the harm category it is matched to, or `default`.
        placement: `user` wraps the user turn, `system` is a system message.
        purpose: the directive it opens with.
        assessment: headings of the silent risk assessment, each with its question.
        routes: the three exclusive routes.
        confidentiality: the rule never to reveal the constitution.
    """

    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: str
    category: str
    placement: Placement = "user"
    purpose: str = Field(min_length=40)
    assessment: dict[str, str] = Field(min_length=2)
    routes: Routes
    confidentiality: str = Field(min_length=40)

    @field_validator("purpose", "confidentiality")
    @classmethod
    def _no_slot(cls, text: str) -> str:
        if SLOT in text:
            raise ValueError(f"the slot {SLOT} is placed by the template, not by the text")
        return text

    def body(self) -> str:
        """The rules as one text, without the user's question.

        Running text: the small model continues a list of rules as a list instead of answering.
        """
        first, *others = (question.strip() for question in self.assessment.values())
        questions = " ".join([first, *(question[:1].upper() + question[1:] for question in others)])
        refuse, warn = (f"If {r.when.strip()}, {r.do.strip()}" for r in (self.routes.refuse, self.routes.warn))
        return (
            f"{self.purpose.strip()}\n\nFirst, think silently: {questions}\n\n"
            f"Then take one route. A. {refuse} B. {warn} C. Otherwise {self.routes.help.strip()}\n\n"
            f"{self.confidentiality.strip()}"
        )

    def context(self, placement: Placement | None = None) -> Context:
        """The constitution as a context of a row."""
        where = placement or self.placement
        # The question comes last, in the sentence that asks for the answer: put on a line of its own after the rules,
        # the small model continues the rules instead of answering.
        text = self.body() if where == "system" else f'{self.body()}\n\nAnswer this message: "{SLOT}"'
        return Context(name=self.name, text=text, placement=where)

    def digest(self) -> str:
        """sha256 of the rendered rules."""
        return hashlib.sha256(self.body().encode()).hexdigest()


def constitutions_dir() -> Path:
    """Folder of the packaged constitutions (in a wheel inside the package, in a checkout beside it)."""
    packaged = Path(__file__).parent / "constitutions"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "constitutions"


def constitution_names() -> list[str]:
    """Names of the packaged constitutions; a file with an underscore holds another system's texts."""
    return sorted(path.stem for path in constitutions_dir().glob("*.yaml") if "_" not in path.stem)


@cache
def load_constitution(name: str) -> Constitution:
    """A packaged constitution by name, or a file by path.

    Raises:
        CopsdError: no such name or file, or the file does not follow the schema (which field, and why).
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else constitutions_dir() / f"{name}.yaml"
    if not path.is_file():
        raise unknown_name("constitution", name, constitution_names())
    try:
        return Constitution.model_validate(read_mapping(path, "Constitution", "title: My rules"))
    except ValidationError as error:
        where, what = first_problem(error)
        raise CopsdError(f"Constitution file {path} is wrong at {where}: {what}.") from error
