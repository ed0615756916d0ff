"""The gate: is a model still healthy, against the record of a baseline or against the reference in its own record?

One red finding (`records/findings.py`) makes the outcome a regression; without one, one undecided finding makes it
undecided. Whether a regression is a collapse is said by the verdict (`records/verdict.py`).
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records.change import LEVELS, PANEL_CHANGES, ROW_SCORES
from copsd_bench.records.comparability import warnings
from copsd_bench.records.compare import require_comparable
from copsd_bench.records.findings import Finding, Pair, findings
from copsd_bench.records.format import run_name
from copsd_bench.records.rules import Rules, Symptom
from copsd_bench.records.schema import RunRecord, Strict, TaskRecord
from copsd_bench.records.verdict import Answers, Verdict, verdict

Outcome = Literal["healthy", "regression", "undecided"]
EXIT_CODES: dict[Outcome, ExitCode] = {
    "healthy": ExitCode.OK,
    "regression": ExitCode.REGRESSION,
    "undecided": ExitCode.UNDECIDED,
}


class GateResult(Strict):
    """The outcome with every finding, red ones first.

    Attributes:
        baseline: the run judged against, or the reference in the record itself.
        collapse: the verdict on collapse.
        symptoms: those of the red findings, in order of appearance.
        skipped: rules that found nothing to look at (a number or prompt class that the base side does not have).
    """

    baseline: str
    record: str
    verdict: Outcome
    collapse: Verdict
    symptoms: list[Symptom]
    findings: list[Finding]
    skipped: list[str]
    notes: list[str]

    @property
    def exit_code(self) -> ExitCode:
        return EXIT_CODES[self.verdict]


def check(baseline: RunRecord, record: RunRecord, rules: Rules, vary: tuple[str, ...] = ()) -> GateResult:
    """Judge a run against its baseline.

    Raises:
        CopsdError: the records do not compare, the record lacks a task of the baseline, or no rule applies.
    """
    pairs = require_comparable(baseline, record, vary)
    missing = [task.name for task in baseline.tasks if task.name not in {name for name, _, _ in pairs}]
    if missing:
        raise CopsdError(
            f"The record lacks {', '.join(missing)}, which the baseline has; run every task of the baseline."
        )
    sides = [Pair(name, a, b, records=(a, b)) for name, a, b in pairs]
    return _result(run_name(baseline), record, rules, sides, warnings(baseline, record), ("score", *PANEL_CHANGES))


def check_reference(record: RunRecord, rules: Rules) -> GateResult:
    """Judge a run against the reference whose answers stand in the same record (`TaskRecord.reference_samples`).

    The panel's rules compare the two sides' answers, prompt by prompt; the rules on metrics that already relate the two
    (contraction, diversity ratio, ...) read those. The `score` rule has nothing to compare with.

    Raises:
        CopsdError: no task has a reference, or no rule applies.
    """
    tasks = [task for task in record.tasks if task.reference_samples]
    if not tasks:
        raise CopsdError(
            "This record has no answers of a reference; run tasks of the suite `collapse`, or give --baseline RECORD."
        )
    names = dict.fromkeys(task.reference.name if task.reference else "unnamed" for task in tasks)
    pairs = list(_reference_pairs(tasks))
    notes = []
    again = [pair.task for pair in pairs if not pair.panel]
    if again:
        notes.append(f"The same answers stand in several tasks; their panel is judged once, not in {', '.join(again)}.")
    alone = [task.name for task in record.tasks if not task.reference_samples]
    if alone:
        notes.append(f"Without a reference, left out: {', '.join(alone)}.")
    expected = (*PANEL_CHANGES, *ROW_SCORES, *LEVELS)
    return _result(f"its reference ({', '.join(names)})", record, rules, pairs, notes, expected)


def _reference_pairs(tasks: list[TaskRecord]) -> Iterator[Pair]:
    seen = set()
    for task in tasks:
        rows = [*task.reference_samples, *task.samples]
        answers = tuple((row.id, row.epoch, row.answer_digest, row.output_tokens) for row in rows)
        yield Pair(task.name, Answers(task.reference_samples), task, metrics=task.metrics, panel=answers not in seen)
        seen.add(answers)


def _result(
    baseline: str, record: RunRecord, rules: Rules, pairs: list[Pair], notes: list[str], expected: Sequence[str]
) -> GateResult:
    """What the rules find; those on `expected` statistics that find nothing are said to be skipped."""
    found = findings(rules, pairs)
    if not found:
        raise CopsdError("No rule of the gate applies to these records: the baseline has none of its numbers.")
    statuses = {finding.status for finding in found}
    applied = {finding.rule for finding in found}
    return GateResult(
        baseline=baseline,
        record=run_name(record),
        verdict="regression" if "red" in statuses else "undecided" if "undecided" in statuses else "healthy",
        collapse=verdict(found),
        symptoms=list(dict.fromkeys(finding.symptom for finding in found if finding.status == "red")),
        findings=found,
        skipped=[rule.name for rule in rules.rules if rule.name not in applied and rule.statistic in expected],
        notes=notes,
    )
