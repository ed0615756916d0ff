"""The plan of the evidence, results/evidence/plan.yaml."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from copsd_bench.yaml_file import read_mapping

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "results" / "evidence"
RECORDS = FOLDER / "records"


class Section(BaseModel):
    """A part of the plan: no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Arm(Section):
    """One way to make a model.

    Attributes:
        name, about: for people; the name is in file names.
        recipe: what trains it; None is the base model itself.
        changes: of the recipe (`--set`).
        constitution: context it sees while it is evaluated.
        teacher_of: arm whose teacher of the same seed it takes over.
        seeds: of training, and of sampled answers.
    """

    name: str
    about: str
    recipe: str | None = None
    changes: list[str] = []
    constitution: str = "none"
    teacher_of: str | None = None
    seeds: list[int] = Field(min_length=1)


class Evaluation(Section):
    """Greedy answers to real sets."""

    tasks: list[str]
    limit: int
    max_tokens: int


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


def load_plan(path: Path = FOLDER / "plan.yaml") -> Plan:
    """The plan in a file."""
    return Plan.model_validate(read_mapping(path, "Plan", "model: smollm2-135m"))


def record_path(arm: str, seed: int, kind: str, folder: Path = RECORDS) -> Path:
    """Where the record of an arm is kept; `kind` is `evaluation` or `collapse`."""
    return folder / f"{arm}-seed{seed}-{kind}.json"
