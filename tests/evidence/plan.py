"""The plan of the evidence, results/evidence/plan.yaml."""

from collections import Counter
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from copsd_bench.yaml_file import read_mapping

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "results" / "evidence"


class Section(BaseModel):
    """A part of the plan: no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Arm(Section):
    """One way to make a model.

    Attributes:
        name, about: for people; the name is in file names.
        recipe: what trains it; None is the starting model itself.
        changes: of the recipe (`--set`).
        constitution: context it sees while it is evaluated.
        start: arm whose merged student (of its first seed) is the starting model; None is the plan's model.
        teacher_of: arm whose teacher of the same seed it takes over.
        seeds: of training, and of sampled answers.
    """

    name: str
    about: str
    recipe: str | None = None
    changes: list[str] = []
    constitution: str = "none"
    start: str | None = None
    teacher_of: str | None = None
    seeds: list[int] = Field(min_length=1)

    @property
    def is_base(self) -> bool:
        """Whether this is a starting model as it is: what the other arms of its family are set against."""
        return self.recipe is None and self.constitution == "none"


class Comparison(Section):
    """A claim, and the two arms that are compared for it."""

    claim: str
    first: str
    second: str


class Evaluation(Section):
    """Greedy answers to real sets.

    Attributes:
        tasks, limit: the sets, and prompts of each.
        max_tokens, own_max_tokens: of an answer; tasks with a limit of their own.
    """

    tasks: list[str]
    limit: int
    max_tokens: int
    own_max_tokens: dict[str, int] = {}

    @property
    def by_limit(self) -> dict[int, list[str]]:
        """Tasks by the limit of their answers."""
        found: dict[int, list[str]] = {}
        for task in self.tasks:
            found.setdefault(self.own_max_tokens.get(task, self.max_tokens), []).append(task)
        return found


class Collapse(Section):
    """Sampled answers to the packaged collapse prompts."""

    rollouts: int
    temperature: float
    top_p: float
    max_tokens: int


class Plan(Section):
    """All arms, and what is the same for them: the model, changes of every recipe, how they are judged."""

    model: str
    training: list[str]
    evaluation: Evaluation
    general: list[str]
    collapse: Collapse
    arms: list[Arm]
    comparisons: list[Comparison]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for i, arm in enumerate(self.arms):
            for needed in filter(None, (arm.start, arm.teacher_of)):
                earlier = [other for other in self.arms[:i] if other.name == needed]
                if not earlier or earlier[0].recipe is None:
                    raise ValueError(f"{arm.name} needs {needed}, which must be a trained arm before it")
        if twice := [name for name, count in Counter(arm.name for arm in self.arms).items() if count > 1]:
            raise ValueError(f"two arms are called {twice[0]}")
        for start, family in self.families.items():
            if sum(arm.is_base for arm in family) != 1:
                raise ValueError(f"the family of {start or self.model} needs one base")
        compared = {name for pair in self.comparisons for name in (pair.first, pair.second)}
        if unknown := compared - {arm.name for arm in self.arms}:
            raise ValueError(f"no arm {', '.join(sorted(unknown))} to compare")
        return self

    @property
    def families(self) -> dict[str | None, list[Arm]]:
        """Arms by their starting model, in the order of the plan."""
        starts = dict.fromkeys(arm.start for arm in self.arms)
        return {start: [arm for arm in self.arms if arm.start == start] for start in starts}

    def arm(self, name: str) -> Arm:
        """The arm of a name that the plan has."""
        return next(arm for arm in self.arms if arm.name == name)


def load_plan(path: Path = FOLDER / "plan.yaml") -> Plan:
    """The plan in a file."""
    return Plan.model_validate(read_mapping(path, "Plan", "model: smollm2-135m"))


def record_path(folder: Path, arm: str, seed: int, kind: str) -> Path:
    """Where the record of an arm is kept under the evidence's folder; `kind` is `evaluation` or `collapse`."""
    return folder / "records" / f"{arm}-seed{seed}-{kind}.json"
