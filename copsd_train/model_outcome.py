"""A judging model as the judge of outcomes: a guard or a rubric, asked in one of the formats of `copsd_bench`."""

from collections.abc import Sequence

from copsd_bench.collapse.text import empty
from copsd_bench.errors import CopsdError
from copsd_bench.judges.formats import Case, JudgeFormat, format_named
from copsd_bench.judges.protocol import Unscored, Verdict
from copsd_bench.records.schema import Group
from copsd_train.corpora.answers import InspectAnswerer, Ledger
from copsd_train.corpora.schema import PromptRow

SILENCE = Verdict("degenerate", 0.0, "empty")
"""The verdict on an empty answer, which no model is asked about."""


def format_and_model(judge: str) -> tuple[JudgeFormat, str]:
    """The two parts of `FORMAT:MODEL`.

    Raises:
        CopsdError: no format has this name (with the nearest), there is no model, or it needs the image of a question.
    """
    form, _, model = judge.partition(":")
    asked = format_named(form)
    if not model or asked.image:
        why = "is shown an image, which outcomes do not have" if model else "names no model"
        raise CopsdError(f"The judge {judge!r} {why}; give FORMAT:MODEL, e.g. wildguard:allenai/wildguard.")
    return asked, model


class ModelOutcome:
    """Scores each answer by a judging model.

    A verdict's `score` is turned so that 1 is good: the chance of harm that a guard gives becomes 1 minus it.

    Args:
        judge: `FORMAT:MODEL`, as for `copsd-bench run --judge`.
        ledger: of the model's answerer.

    Raises:
        CopsdError: as `format_and_model`, or the model cannot be used.
    """

    def __init__(self, judge: str, ledger: Ledger) -> None:
        self.asked, model = format_and_model(judge)
        self.who = InspectAnswerer(model, ledger)

    def __call__(self, rows: Sequence[PromptRow], answers: Sequence[str]) -> list[Verdict | Unscored]:
        """A verdict on each answer; the judge is told the class of its prompt, and the reference."""
        from copsd_bench.benchmarks.model_judge import reply_of

        cases = [_case(row, answer) for row, answer in zip(rows, answers, strict=True)]
        said = [case for case in cases if not empty(case.answer)]
        replies = iter(self.who.together([reply_of(self.who.model, self.asked, self.asked.ask(case)) for case in said]))
        return [
            self._good(self.asked.read(next(replies), case)) if not empty(case.answer) else SILENCE for case in cases
        ]

    def _good(self, verdict: Verdict | Unscored) -> Verdict | Unscored:
        if isinstance(verdict, Unscored) or not self.asked.lower_is_better:
            return verdict
        return Verdict(verdict.label, 1 - verdict.score, verdict.reason, verdict.values)


def group_of(row: PromptRow) -> Group:
    """The class of a prompt, as a judge is told it: harmful where a refusal is right."""
    if row.kind == "safety" and row.route in (None, "refuse"):
        return "harmful"
    return "general" if row.kind == "general" else "benign"


def _case(row: PromptRow, answer: str) -> Case:
    return Case(row.prompt, answer, group_of(row), row.category, row.reference or "")
