"""Candidate contexts for a teacher: short instructions by name, and constitutions. `flip-rate` ranks them.

Instructions are kept in files of a few candidates for one class of prompts; the packaged ones lie in `contexts/`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from copsd_bench.constitution import constitution_names, load_constitution
from copsd_bench.engine.context import SLOT, Context, Placement
from copsd_bench.errors import CopsdError, first_problem, unknown_name
from copsd_bench.yaml_file import read_mapping
from copsd_train.corpora.schema import PromptRow, constitution_of

PromptClass = Literal["harmful", "benign"]
CLASSES: tuple[PromptClass, ...] = ("harmful", "benign")
CONTEXTS = Path(__file__).parent / "contexts"
BY_CATEGORY = "category"
"""The candidate that is each prompt's own constitution, by its category."""


class Instruction(BaseModel):
    """A short context.

    Attributes:
        text: with the slot `{user_query}` to wrap the user turn; without it as a system message.
        placement: where the text goes.
        about: in what it differs from the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str = Field(min_length=1)
    placement: Placement = "user"
    about: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.text.count(SLOT) != (self.placement == "user"):
            raise ValueError(f"text holds the slot {SLOT} once in a user turn, and not at all in a system message")
        return self


class ContextFile(BaseModel):
    """Candidates by name, and the class of prompts they are `for`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    meant_for: Literal["harmful", "benign", "both"] = Field(alias="for")
    contexts: dict[str, Instruction] = Field(min_length=1)


@dataclass(frozen=True)
class Candidate:
    """Something a teacher could be conditioned on.

    Attributes:
        name: of the instruction or constitution.
        about: for people.
        classes: of the prompts it is meant for.
        context: what it adds to a prompt.
        digest: sha256 of its text and placement.
    """

    name: str
    about: str
    classes: tuple[PromptClass, ...]
    context: Callable[[PromptRow], Context]
    digest: str


def find_candidates(names: Sequence[str]) -> list[Candidate]:
    """Candidates by what names them: a file of contexts, a packaged file (`refusal`), one context in it, a constitution
    (by name or file), or `category` for each prompt's own constitution.

    Raises:
        CopsdError: a name nobody knows (with the nearest), a file that is no list of contexts, the same name twice.
    """
    found: dict[str, Candidate] = {}
    for candidate in (each for name in names for each in _named(name)):
        if found.setdefault(candidate.name, candidate).digest != candidate.digest:
            raise CopsdError(f"Two different contexts have the name {candidate.name!r}; rename one of them.")
    return list(found.values())


def instruction_context(text: str) -> Context:
    """A packaged context by its name, or a text with the slot `{user_query}`.

    Raises:
        CopsdError: there is none of that name (with the nearest), or the slot is there twice.
    """
    if SLOT in text:
        return Context("instruction", text)
    if text not in packaged():
        raise unknown_name("context", text, packaged())
    return _context(text, packaged()[text][0])


@cache
def packaged() -> dict[str, tuple[Instruction, ContextFile]]:
    """All packaged instructions by name, each with the file it stands in."""
    files = [read_contexts(path) for path in sorted(CONTEXTS.glob("*.yaml"))]
    return {name: (one, file) for file in files for name, one in file.contexts.items()}


def packaged_files() -> list[str]:
    """Names of the packaged files of contexts."""
    return sorted(path.stem for path in CONTEXTS.glob("*.yaml"))


def read_contexts(path: Path) -> ContextFile:
    """A file of contexts.

    Raises:
        CopsdError: it cannot be read, has no contexts, or one of them is wrong (which, and why).
    """
    raw = read_mapping(path, "Contexts", "for: harmful")
    if not raw.get("contexts"):
        raise CopsdError(f"Contexts file {path} has no contexts; give at least one under `contexts:`, with its text.")
    try:
        return ContextFile.model_validate(raw)
    except ValidationError as error:
        where, what = first_problem(error)
        raise CopsdError(f"Contexts file {path} is wrong at {where}: {what}.") from error


def _named(name: str) -> list[Candidate]:
    if name in packaged_files():
        return _of_file(read_contexts(CONTEXTS / f"{name}.yaml"))
    if name in packaged():
        one, file = packaged()[name]
        return _of_file(file.model_copy(update={"contexts": {name: one}}))
    if name == BY_CATEGORY:
        return [_by_category()]
    if name in constitution_names():
        return [_of_constitution(name)]
    if not name.endswith((".yaml", ".yml")):
        known = [*packaged_files(), *packaged(), *constitution_names(), BY_CATEGORY]
        raise unknown_name("context", name, known)
    if "routes" in read_mapping(Path(name), "Contexts", "for: harmful"):
        return [_of_constitution(name)]
    return _of_file(read_contexts(Path(name)))


def _of_file(file: ContextFile) -> list[Candidate]:
    return [_of_instruction(name, one, file.meant_for) for name, one in file.contexts.items()]


def _of_instruction(name: str, one: Instruction, meant_for: str) -> Candidate:
    context = _context(name, one)
    digest = hashlib.sha256(f"{one.placement}\0{one.text}".encode()).hexdigest()
    kept = tuple(each for each in CLASSES if meant_for in (each, "both"))
    return Candidate(name, one.about, kept, lambda row: context, digest)


def _of_constitution(name: str) -> Candidate:
    text = load_constitution(name)
    context = text.context()
    return Candidate(
        text.name, f"constitution: {text.title}", ("harmful", "benign"), lambda row: context, text.digest()
    )


def _by_category() -> Candidate:
    digest = hashlib.sha256("".join(load_constitution(n).digest() for n in constitution_names()).encode()).hexdigest()
    about = "constitution: of each prompt's category"
    return Candidate(BY_CATEGORY, about, CLASSES, lambda row: load_constitution(constitution_of(row)).context(), digest)


def _context(name: str, one: Instruction) -> Context:
    return Context(name, one.text, one.placement)
