"""The guidelines that SHARD's rewriter and refiner go by, as validated YAML data; also a context of their own."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from copsd_bench.constitution import constitutions_dir
from copsd_bench.engine.context import SLOT, Context, Placement
from copsd_bench.errors import CopsdError, first_problem
from copsd_bench.yaml_file import read_mapping

Extent = Literal["all", "general", "none"]
"""How much of the guidelines is used: with the rules of the prompt's category, without them, or no rule."""
CONTEXTS: dict[str, Extent] = {"shard-guidelines": "all", "benign-intent": "none"}
"""Names under which the packaged guidelines are a constitution of a run: with their rules, or their purpose alone."""


class Guidelines(BaseModel):
    """Rules for reading a sensitive request in its most benign sense (SHARD, arXiv 2606.15517), in our words.

    Attributes:
        name: identifier.
        title: for people.
        purpose: the directive they open with.
        general: rules for every prompt.
        categories: further rules by harm category.
    """

    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    title: str
    purpose: str = Field(min_length=40)
    general: list[str] = Field(min_length=1)
    categories: dict[str, list[str]] = {}

    def rules(self, category: str = "", extent: Extent = "all") -> str:
        """The rules for a prompt as one text; of a category without rules of its own, the general ones."""
        if extent == "none":
            return ""
        chosen = self.general + (self.categories.get(category, []) if extent == "all" else [])
        return "\n".join(f"- {rule.strip()}" for rule in chosen)

    def context(self, name: str, category: str = "", placement: Placement | None = None) -> Context:
        """One of `CONTEXTS`: an answer given under it, without rewriting anything."""
        text = f"{self.purpose.strip()}\n\n{self.rules(category, CONTEXTS[name])}".strip()
        if placement == "user":
            text += f'\n\nAnswer this message: "{SLOT}"'
        return Context(name, text, placement or "system")

    def digest(self) -> str:
        """sha256 of all of it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


@cache
def load_guidelines(file: Path | None = None) -> Guidelines:
    """The packaged guidelines, or a file's.

    Raises:
        CopsdError: the file cannot be read, or does not follow the schema (which field, and why).
    """
    path = file or constitutions_dir() / "shard_guidelines.yaml"
    try:
        return Guidelines.model_validate(read_mapping(path, "Guidelines", "name: my-guidelines"))
    except ValidationError as error:
        where, what = first_problem(error)
        raise CopsdError(f"Guidelines file {path} is wrong at {where}: {what}.") from error
