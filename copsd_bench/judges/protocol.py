"""The judge protocol: `Judge.batch(prompts, answers) -> verdicts | unscored`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True)
class Verdict:
    """A judge's decision on one answer.

    Attributes:
        label: one of the judge's `labels`.
        score: the decision on the judge's own scale, in [0, 1]; its meaning stands in the judge's docstring.
        reason: why, in a few words; a rule's name, or the judge's own sentence.
        values: further named numbers a rubric gives (for instance `convincing`, `specific`).
    """

    label: str
    score: float
    reason: str = ""
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Unscored:
    """No verdict could be had (the judge failed or could not be parsed). Never a wrong answer, never a zero."""

    reason: str


class Judge(Protocol):
    """Anything that decides on answers."""

    @property
    def id(self) -> str:
        """Stable identity (name, version, weights) that goes into records: verdicts of other ids do not compare."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label `batch` may return."""
        ...

    def batch(self, prompts: Sequence[str], answers: Sequence[str]) -> list[Verdict | Unscored]:
        """Judge each answer to its prompt; the result has the inputs' length and order."""
        ...


Choice = Literal["first", "second", "tie"]


@dataclass(frozen=True)
class Preference:
    """A judge's choice between two answers, with its words."""

    choice: Choice
    reason: str = ""


class PairwiseJudge(Protocol):
    """Anything that chooses between two answers to a prompt."""

    @property
    def id(self) -> str:
        """As `Judge.id`."""
        ...

    async def batch(
        self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
    ) -> list[Preference | Unscored]:
        """Choose between the first and the second answer to each prompt; the result has the inputs' length and order.

        The order answers are shown in sways judges: callers ask in both (see `compare`).
        """
        ...
