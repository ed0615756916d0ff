"""Rules of the gate: what a model may lose or gain, from a documented YAML file (`copsd_bench/data/gate.yaml`)."""

from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from copsd_bench.errors import CopsdError, first_problem
from copsd_bench.records.change import LEVELS, PANEL_CHANGES, ROW_SCORES
from copsd_bench.records.schema import Strict
from copsd_bench.yaml_file import read_mapping

Worse = Literal["fall", "rise"]
Symptom = Literal["ability", "contraction", "over-refusal", "compliance", "instability"]
Damage = Literal["shortening", "sharpening", "over-refusal", "looping", "copying", "unhelpfulness"]
DAMAGES: tuple[Damage, ...] = get_args(Damage)
"""The ways a model collapses, each read from measurements the others do not use."""
STATISTICS = ("score", *PANEL_CHANGES, *ROW_SCORES, *LEVELS)
MIN_N_RED = 10  # below this many items no interval is trusted, however clear it looks


class Rule(Strict):
    """One rule; the fields are explained in `copsd_bench/data/gate.yaml`."""

    name: str
    statistic: str
    groups: list[Literal["all", "harmful", "benign", "general"]] = Field(default=["all"], min_length=1)
    tasks: list[str] = Field(default=["*"], min_length=1)
    worse: Worse
    margin: float = Field(gt=0)
    collapse_margin: float | None = Field(default=None, gt=0)
    min_n: int = Field(ge=MIN_N_RED)
    max_width: float | None = Field(default=None, gt=0)
    symptom: Symptom
    damage: Damage | None = None
    reason: str
    why: str

    @field_validator("statistic")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in STATISTICS:
            raise ValueError(f"unknown statistic {name!r}; valid: {', '.join(STATISTICS)}")
        return name

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        ratio = PANEL_CHANGES.get(self.statistic) == "ratio"
        if ratio and (self.margin < 1) != (self.worse == "fall"):
            raise ValueError("the margin of a ratio is a factor: below 1 for a fall, above 1 for a rise")
        if self.statistic == "score" and self.groups != ["all"]:
            raise ValueError("a rule on `score` looks at every metric of a task, which has no groups")
        if self.collapse_margin is not None:
            if self.damage is None:
                raise ValueError("a collapse_margin needs the damage it is a margin of")
            falls = self.worse == "fall" and (ratio or self.statistic in LEVELS)
            if (self.collapse_margin < self.margin) != falls or self.collapse_margin == self.margin:
                raise ValueError("the collapse_margin must tolerate more than the margin")
        return self


class Rules(Strict):
    """A gate file."""

    schema_version: Literal[1]
    max_unscored: float = Field(ge=0, le=1)
    rules: list[Rule] = Field(min_length=1)

    @field_validator("rules")
    @classmethod
    def _once(cls, rules: list[Rule]) -> list[Rule]:
        again = [name for name, count in Counter(rule.name for rule in rules).items() if count > 1]
        if again:
            raise ValueError(f"rule names must differ, but {again[0]!r} comes twice")
        return rules


def load_rules(path: Path | None = None) -> Rules:
    """The packaged rules, or those of a file.

    Raises:
        CopsdError: the file is missing, not YAML, or wrong in a field (which, and why).
    """
    file = path or Path(str(files("copsd_bench") / "data" / "gate.yaml"))
    try:
        return Rules.model_validate(read_mapping(file, "Rules", "max_unscored: 0.1"))
    except ValidationError as error:
        field, what = first_problem(error)
        raise CopsdError(f"Rules file {file} is wrong at {field}: {what}.") from error
