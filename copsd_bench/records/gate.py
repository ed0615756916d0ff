"""The gate: is a model still healthy against its baseline, on the rules of a documented YAML file?

A rule is *red* if the whole 95 % interval of a change lies beyond its margin, *ok* if the whole interval lies within,
and *noise* (which passes) if the interval holds the margin. With too few items, too wide an interval or too many
unscored answers it is *undecided* instead of ok or noise. One red rule makes the verdict a regression; without one, one
undecided rule makes it undecided.
"""

from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records.change import PANEL_CHANGES, Change, panel_change, score_change
from copsd_bench.records.comparability import warnings
from copsd_bench.records.compare import require_comparable
from copsd_bench.records.format import interval, number, run_name, suffix
from copsd_bench.records.grid import Grid
from copsd_bench.records.schema import RunRecord, Strict, TaskRecord

Symptom = Literal["ability", "contraction", "over-refusal", "compliance", "instability"]
Status = Literal["red", "undecided", "noise", "ok"]
Verdict = Literal["healthy", "regression", "undecided"]
EXIT_CODES: dict[Verdict, ExitCode] = {
    "healthy": ExitCode.OK,
    "regression": ExitCode.REGRESSION,
    "undecided": ExitCode.UNDECIDED,
}
MIN_N_RED = 10  # below this many items no interval is trusted, however clear it looks


class Rule(Strict):
    """One rule; the fields are explained in `copsd_bench/data/gate.yaml`."""

    name: str
    statistic: str
    groups: list[Literal["all", "harmful", "benign", "general"]] = Field(default=["all"], min_length=1)
    tasks: list[str] = Field(default=["*"], min_length=1)
    worse: Literal["fall", "rise"]
    margin: float = Field(gt=0)
    min_n: int = Field(ge=MIN_N_RED)
    max_width: float | None = Field(default=None, gt=0)
    symptom: Symptom
    reason: str
    why: str

    @field_validator("statistic")
    @classmethod
    def _known(cls, name: str) -> str:
        if name != "score" and name not in PANEL_CHANGES:
            raise ValueError(f"unknown statistic {name!r}; valid: score, {', '.join(PANEL_CHANGES)}")
        return name

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if PANEL_CHANGES.get(self.statistic) == "ratio" and (self.margin < 1) != (self.worse == "fall"):
            raise ValueError("the margin of a ratio is a factor: below 1 for a fall, above 1 for a rise")
        if self.statistic == "score" and self.groups != ["all"]:
            raise ValueError("a rule on `score` looks at every metric of a task, which has no groups")
        return self


class Rules(Strict):
    """A gate file."""

    schema_version: Literal[1]
    max_unscored: float = Field(ge=0, le=1)
    rules: list[Rule] = Field(min_length=1)


class Finding(Strict):
    """What one rule found on one task and prompt class."""

    rule: str
    task: str
    group: str
    symptom: Symptom
    status: Status
    margin: float
    worse: Literal["fall", "rise"]
    change: Change
    reason: str


class GateResult(Strict):
    """The verdict with every finding, red ones first.

    Attributes:
        symptoms: those of the red findings, in order of appearance; what a finer verdict can be read from.
        skipped: rules that found nothing to look at (a number or prompt class the baseline does not have).
    """

    baseline: str
    record: str
    verdict: Verdict
    symptoms: list[Symptom]
    findings: list[Finding]
    skipped: list[str]
    notes: list[str]

    @property
    def exit_code(self) -> ExitCode:
        return EXIT_CODES[self.verdict]


def load_rules(path: Path | None = None) -> Rules:
    """The packaged rules, or those of a file.

    Raises:
        CopsdError: the file is missing, not YAML, or wrong in a field (which, and why).
    """
    where = str(path or "the packaged gate.yaml")
    try:
        text = (path or files("copsd_bench") / "data" / "gate.yaml").read_text(encoding="utf-8")
        return Rules.model_validate(yaml.safe_load(text))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CopsdError(f"There is no rules file {where}; see `copsd-bench check --help`.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CopsdError(f"Rules file {where} is not valid YAML: {str(error).splitlines()[0]}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise CopsdError(f"Rules file {where} is wrong at {field}: {first['msg']}.") from error


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
    findings: list[Finding] = []
    skipped: list[str] = []
    for rule in rules.rules:
        found = [finding for _, a, b in pairs for finding in _apply(rule, a, b, rules.max_unscored)]
        findings += found
        if not found:
            skipped.append(rule.name)
    if not findings:
        raise CopsdError("No rule of the gate applies to these records: the baseline has none of its numbers.")
    order: list[Status] = ["red", "undecided", "noise", "ok"]
    findings.sort(key=lambda finding: order.index(finding.status))
    statuses = {finding.status for finding in findings}
    return GateResult(
        baseline=run_name(baseline),
        record=run_name(record),
        verdict="regression" if "red" in statuses else "undecided" if "undecided" in statuses else "healthy",
        symptoms=list(dict.fromkeys(finding.symptom for finding in findings if finding.status == "red")),
        findings=findings,
        skipped=skipped,
        notes=warnings(baseline, record),
    )


def gate_parts(result: GateResult, everything: bool = False) -> list[Grid | str]:
    """The verdict, its reasons with where they were found, and the findings as a table (all if `everything`)."""
    counts = {status: sum(finding.status == status for finding in result.findings) for status in get_args(Status)}
    verdict = f"Verdict: {result.verdict}" + (f" ({', '.join(result.symptoms)})" if result.symptoms else "")
    lines = [verdict, f"{result.record} against {result.baseline}: {_counted(counts)}."]
    reasons: dict[str, list[str]] = {}
    for finding in _shown(result, everything=False):
        reasons.setdefault(f"- {finding.status}: {finding.reason}", []).append(_where(finding))
    lines += [f"{reason} ({', '.join(dict.fromkeys(places))})" for reason, places in reasons.items()]
    lines += [f"Note: {note}" for note in result.notes]
    if result.skipped:
        lines.append(f"Not measured by the baseline, so skipped: {', '.join(result.skipped)}.")
    grid = _grid(result, everything)
    text = "\n".join([*lines, ""])
    return [text, grid] if grid.rows else [text]


def _counted(counts: dict[Status, int]) -> str:
    passed = counts["ok"] + counts["noise"]
    return f"{counts['red']} red, {counts['undecided']} undecided, {passed} passed"


def _shown(result: GateResult, everything: bool) -> list[Finding]:
    return [finding for finding in result.findings if everything or finding.status in ("red", "undecided")]


def _grid(result: GateResult, everything: bool) -> Grid:
    grid = Grid(
        "Findings (rates in per cent)", ["Verdict", "Rule", "Task", "Base", "Now", "Change", "Tolerated", "n"], texts=3
    )
    styles = {"red": "red", "undecided": "yellow", "noise": "dim", "ok": "dim"}
    for finding in _shown(result, everything):
        change = finding.change
        unit = change.change.unit
        shown = "nats" if change.statistic == "entropy" else "tokens" if unit == "ratio" else unit
        grid.add(
            finding.status,
            finding.rule,
            _where(finding),
            number(change.base, shown),
            number(change.other, shown),
            interval(change.change, signed=change.kind == "difference"),
            tolerated(finding),
            str(change.change.n),
            style=styles[finding.status],
        )
    return grid


def _where(finding: Finding) -> str:
    return f"{finding.task} {finding.group}".strip()


def tolerated(finding: Finding) -> str:
    """The margin as a bound: `≥ 0.75 ×`, `≤ +5.0 %`."""
    fall, change = finding.worse == "fall", finding.change
    signed = finding.margin if change.kind == "ratio" or not fall else -finding.margin
    text = number(signed, change.change.unit, signed=change.kind == "difference")
    return f"{'≥' if fall else '≤'} {text}{suffix(change.change.unit)}"


def _apply(rule: Rule, base: TaskRecord, record: TaskRecord, max_unscored: float) -> Iterator[Finding]:
    """Findings of a rule on one task; none where the baseline has nothing to compare with."""
    if not any(fnmatch(base.name, pattern) for pattern in rule.tasks):
        return
    for change, worse in _changes(rule, base, record):
        if not change.change.n and not change.lost:
            continue
        status, doubt = _status(rule, change, worse, max_unscored)
        yield Finding(
            rule=rule.name,
            task=base.name,
            group=change.group,
            symptom=rule.symptom,
            status=status,
            margin=rule.margin,
            worse=worse,
            change=change,
            reason=doubt or rule.reason,
        )


def _changes(rule: Rule, base: TaskRecord, record: TaskRecord) -> Iterator[tuple[Change, Literal["fall", "rise"]]]:
    """What a rule looks at on one task, and which way is worse."""
    if rule.statistic != "score":
        for group in rule.groups:
            yield panel_change(base, record, rule.statistic, "" if group == "all" else group), rule.worse
        return
    scores = {name for row in base.samples for name in row.scores}
    for metric in base.metrics:
        # Refusal by prompt class has rules of its own; a metric that is no sample's score cannot be paired.
        if metric.partition("/")[0] in scores - {"refused"}:
            lower = base.is_lower_better(metric)
            yield score_change(base, record, metric), "rise" if lower == (rule.worse == "fall") else "fall"


def _status(rule: Rule, change: Change, worse: str, max_unscored: float) -> tuple[Status, str]:
    """The status of a change, and for an undecided one the reason of the doubt."""
    estimate, n = change.change, change.change.n
    if change.lost > max_unscored * (n + change.lost):
        return "undecided", f"{change.lost} of {n + change.lost} items the baseline scored are unscored now"
    if estimate.low is None or estimate.high is None:
        return "undecided", f"{n} items give no interval"
    limit = -rule.margin if change.kind == "difference" and worse == "fall" else rule.margin
    beyond = estimate.high < limit if worse == "fall" else estimate.low > limit
    within = estimate.low >= limit if worse == "fall" else estimate.high <= limit
    if beyond and n >= MIN_N_RED:
        return "red", ""
    if n < rule.min_n:
        return "undecided", f"{n} items are too few to tell (at least {rule.min_n})"
    if within:
        return "ok", ""
    if rule.max_width is not None and estimate.high - estimate.low > rule.max_width:
        return "undecided", "its 95 % interval is too wide to tell"
    return "noise", ""
