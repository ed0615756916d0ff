"""What the gate's rules find between two sides of a task.

A rule is *red* if the whole 95 % interval of a change lies beyond its margin, *ok* if the whole interval lies within,
and *noise* (which passes) if the interval holds the margin. With too few answers, too wide an interval or too many
unscored answers it is *undecided* instead of ok or noise; and so is a task's primary number that cannot be paired on
items. A red finding is *severe* if the whole interval lies beyond the rule's second, harder margin too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Literal

from copsd_bench.records.change import LEVELS, ROW_SCORES, Change, Sampled, level, panel_change, score_change
from copsd_bench.records.format import number, suffix
from copsd_bench.records.rules import MIN_N_RED, Damage, Rule, Rules, Symptom, Worse
from copsd_bench.records.schema import Estimate, Strict, TaskRecord

Status = Literal["red", "undecided", "noise", "ok"]
ORDER: tuple[Status, ...] = ("red", "undecided", "noise", "ok")


@dataclass(frozen=True)
class Pair:
    """Two sides of one task.

    Attributes:
        task: its name.
        base, other: the answers judged against, and those judged.
        records: the two runs' records of the task, whose own scores are compared; None if there are none.
        metrics: metrics that relate the model to its base already.
        panel: whether the panel of these answers is to be judged (not again, where tasks share their answers).
    """

    task: str
    base: Sampled
    other: Sampled
    records: tuple[TaskRecord, TaskRecord] | None = None
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    panel: bool = True


class Finding(Strict):
    """What one rule found on one task and prompt class."""

    rule: str
    task: str
    group: str
    symptom: Symptom
    damage: Damage | None = None
    status: Status
    severe: bool = False
    margin: float
    collapse_margin: float | None = None
    worse: Worse
    change: Change
    reason: str

    @property
    def where(self) -> str:
        """Task and prompt class."""
        return f"{self.task} {self.group}".strip()

    @property
    def tolerated(self) -> str:
        """The margin as a bound: `≥ 0.75 ×`, `≤ +5.0 %`."""
        return f"{'≥' if self.worse == 'fall' else '≤'} {self.bound(self.margin)}"

    def bound(self, margin: float) -> str:
        """A margin of this finding as the change it stands for."""
        signed = self.change.kind == "difference"
        text = number(_limit(margin, self.change, self.worse), self.change.change.unit, signed=signed)
        return f"{text}{suffix(self.change.change.unit)}"


def findings(rules: Rules, pairs: Sequence[Pair]) -> list[Finding]:
    """Every finding of every rule, red ones first; none where the base side has nothing to compare with."""
    found = [finding for rule in rules.rules for pair in pairs for finding in _apply(rule, pair, rules.max_unscored)]
    return sorted(found, key=lambda finding: ORDER.index(finding.status))


def _apply(rule: Rule, pair: Pair, max_unscored: float) -> Iterator[Finding]:
    if not any(fnmatch(pair.task, pattern) for pattern in rule.tasks):
        return
    for change, worse in _changes(rule, pair):
        if not change.change.n and not change.lost and not (change.unpaired and change.base is not None):
            continue
        status, doubt = _status(rule, change, worse, max_unscored)
        severe = rule.collapse_margin is not None and _beyond(change, rule.collapse_margin, worse)
        yield Finding(
            rule=rule.name,
            task=pair.task,
            group=change.group,
            symptom=rule.symptom,
            damage=rule.damage,
            status=status,
            severe=severe and status == "red",
            margin=rule.margin,
            collapse_margin=rule.collapse_margin,
            worse=worse,
            change=change,
            reason=doubt or rule.reason,
        )


def _changes(rule: Rule, pair: Pair) -> Iterator[tuple[Change, Worse]]:
    """What a rule looks at on one task, and which way is worse."""
    groups = ["" if group == "all" else group for group in rule.groups]
    if rule.statistic in LEVELS:
        levels = (level(pair.metrics, pair.other.samples, rule.statistic, group) for group in groups)
        yield from ((change, rule.worse) for change in levels if change is not None)
    elif rule.statistic != "score":
        if pair.panel or rule.statistic in ROW_SCORES:
            yield from ((panel_change(pair.base, pair.other, rule.statistic, group), rule.worse) for group in groups)
    elif pair.records is not None:
        base, other = pair.records
        if base.reference_samples:
            return  # what such a task scores is the panel or relates to the reference: the other rules'
        scores = {name for row in base.samples for name in row.scores}
        for metric in base.metrics:
            score = metric.partition("/")[0]
            # Refusal by prompt class has rules of its own; what is no sample's score is told of if it is primary.
            judged = score != "refused" and (score in scores or metric == base.primary)
            if judged and metric not in base.undirected:
                lower = base.is_lower_better(metric)
                yield score_change(base, other, metric), "rise" if lower == (rule.worse == "fall") else "fall"


def _status(rule: Rule, change: Change, worse: Worse, max_unscored: float) -> tuple[Status, str]:
    """The status of a change, and for an undecided one the reason of the doubt."""
    estimate, n = change.change, change.change.n
    if change.unpaired:
        return "undecided", "it cannot be paired on items"
    if change.lost > max_unscored * (n + change.lost):
        scored = "are unscored" if change.kind == "level" else "the baseline scored are unscored now"
        return "undecided", f"{change.lost} of {n + change.lost} items {scored}"
    if estimate.low is None or estimate.high is None:
        return "undecided", f"{n} items give no interval"
    if change.items >= MIN_N_RED and _beyond(change, rule.margin, worse):
        return "red", ""
    if change.items < MIN_N_RED or change.answers < rule.min_n:
        items = change.items
        counted = f"{items} items" if change.answers == items else f"{change.answers} answers to {items} items"
        least = rule.min_n if change.answers < rule.min_n else f"{MIN_N_RED} items"
        return "undecided", f"{counted} are too few to tell (at least {least})"
    limit = _limit(rule.margin, change, worse)
    if estimate.low >= limit if worse == "fall" else estimate.high <= limit:
        return "ok", ""
    if rule.max_width is not None and estimate.high - estimate.low > rule.max_width:
        return "undecided", "its 95 % interval is too wide to tell"
    return "noise", ""


def _beyond(change: Change, margin: float, worse: Worse) -> bool:
    """Whether the whole interval lies beyond a margin."""
    low, high, limit = change.change.low, change.change.high, _limit(margin, change, worse)
    if low is None or high is None:
        return False
    return high < limit if worse == "fall" else low > limit


def _limit(margin: float, change: Change, worse: Worse) -> float:
    """The value a change may reach: a margin is a distance from 0 for differences, else the value itself."""
    return -margin if change.kind == "difference" and worse == "fall" else margin
