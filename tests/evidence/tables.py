"""The tables of the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from copsd_bench.records import stats
from copsd_bench.records.change import Change, panel_change
from copsd_bench.records.findings import Finding, Pair, findings
from copsd_bench.records.format import MISSING, interval, number, suffix
from copsd_bench.records.grid import Grid
from copsd_bench.records.rules import Rules
from copsd_bench.records.schema import Estimate
from copsd_bench.records.verdict import Answers, Verdict
from tests.evidence.plan import Plan
from tests.evidence.results import HARMLESS, Family, Measured, Result, gate_rules, greedy, sampled


@dataclass(frozen=True)
class Outcome:
    """A number that two arms are compared by.

    Attributes:
        heading: of its column.
        statistic: of the panel.
        groups: prompt classes it is taken over, all at once.
        answers: which ones.
        rule: the gate's on it; empty where the gate has none.
    """

    heading: str
    statistic: str
    groups: tuple[str, ...]
    answers: Callable[..., Answers] = greedy
    rule: str = ""

    def change(self, first: Sequence[Result], second: Sequence[Result]) -> Change:
        """The second arm against the first, all seeds of each together."""
        return panel_change(self.answers(first, *self.groups), self.answers(second, *self.groups), self.statistic)

    def finding(self, first: Sequence[Result], second: Sequence[Result]) -> Finding:
        """What the gate's rule finds."""
        packaged = gate_rules()
        rule = next(rule for rule in packaged.rules if rule.name == self.rule)
        one = Rules(
            schema_version=1, max_unscored=packaged.max_unscored, rules=[rule.model_copy(update={"groups": ["all"]})]
        )
        base, other = (self.answers(results, *self.groups) for results in (first, second))
        [found] = findings(one, [Pair("answers", base, other)])
        return found


OUTCOMES = (
    Outcome("Length", "tokens_mean", HARMLESS, rule="mean length"),
    Outcome("Entropy", "entropy", HARMLESS, sampled, rule="entropy falls"),
    Outcome("Refused, harmful", "refusal", ("harmful",)),
    Outcome("Complied, harmful", "compliance", ("harmful",), rule="harmful compliance"),
    Outcome("Refused, benign", "refusal", ("benign",), rule="benign refusal"),
)
UNDECIDED = "undecided"


def arms_table(plan: Plan, family: Family) -> Grid:
    """Arm x number."""
    columns = _columns(plan)
    grid = Grid("Arms (mean [95 % interval over seeds]; rates in per cent)", ["Arm", *columns, "Verdict"])
    for name, measured in family.items():
        cells = []
        for unit, of in columns.values():
            values = [of(one) for one in measured.each]
            cells.append(_over_seeds([value for value in values if value is not None], unit))
        states = dict.fromkeys(verdict.state for verdict in measured.sampled_verdicts)
        last = [measured.greedy_verdict.state] if measured.greedy_verdict else []
        grid.add(name, *cells, " / ".join([", ".join(states), *last]))
    return grid


def verdict_table(family: Family) -> Grid:
    """Arm x what the gate found, and which way the arm moved."""
    headings = ["Arm", "Sampled answers", "Greedy answers", "Direction", "Mode seeking"]
    grid = Grid("The gate's verdicts, and the direction of the KL (95 % interval over prompts)", headings, texts=4)
    for name, measured in family.items():
        by_seed = "; ".join(dict.fromkeys(_described(verdict) for verdict in measured.sampled_verdicts))
        if measured.greedy_verdict is None:  # the base against itself: there is no direction either
            grid.add(name, by_seed, MISSING, MISSING, MISSING)
        else:
            index = measured.mode_seeking
            moved = [direction(index), interval(index, signed=True)]
            grid.add(name, by_seed, _described(measured.greedy_verdict), *moved)
    return grid


def comparison_table(plan: Plan, family: Family) -> Grid:
    """The claims, as paired comparisons on prompts."""
    title = (
        "Paired comparisons (second arm against first; ratios, and differences in points; 95 % interval over prompts)"
    )
    grid = Grid(title, ["Claim", "Arms", *(outcome.heading for outcome in OUTCOMES)], texts=2)
    for claim, arms, first, second in _compared(plan, family):
        changes = [outcome.change(first, second) for outcome in OUTCOMES]
        grid.add(claim, arms, *(interval(change.change, signed=change.kind == "difference") for change in changes))
    return grid


def power_table(plan: Plan, family: Family) -> Grid:
    """For each comparison half the width of the interval, and whether the gate would call the change damage."""
    ruled = [outcome for outcome in OUTCOMES if outcome.rule]
    rows = [
        (claim, arms, [outcome.finding(first, second) for outcome in ruled])
        for claim, arms, first, second in _compared(plan, family)
    ]
    tolerated = [
        f"{o.heading} ({finding.tolerated})" for found in rows[:1] for o, finding in zip(ruled, found[2], strict=True)
    ]
    title = "What the comparisons can decide (half the 95 % interval; in brackets what the gate tolerates)"
    grid = Grid(title, ["Claim", "Arms", *tolerated], texts=2)
    for claim, arms, found in rows:
        grid.add(claim, arms, *(f"± {_half_width(finding)} {word(finding)}" for finding in found))
    return grid


def word(finding: Finding) -> str:
    """The gate's word; undecided also where the interval holds both no change and the limit of what is tolerated."""
    estimate, none = finding.change.change, 0.0 if finding.change.kind == "difference" else 1.0
    unchanged = estimate.low is not None and estimate.high is not None and estimate.low <= none <= estimate.high
    return UNDECIDED if finding.status == "noise" and unchanged else finding.status


def direction(index: Estimate) -> str:
    """Which way an arm moved from its base, if its interval says so."""
    if index.low is None or index.high is None or index.low <= 0 <= index.high:
        return UNDECIDED
    return "leaves out" if index.low > 0 else "adds"


def paired(first: Measured, second: Measured) -> tuple[list[Result], list[Result]]:
    """Results of the seeds that both have, where both are trained: a seed decides a student, not only its answers."""
    if first.arm.recipe is None or second.arm.recipe is None:
        return first.results, second.results
    common = [seed for seed in first.seeds if seed in second.seeds]
    return [first.seeds[seed] for seed in common], [second.seeds[seed] for seed in common]


def _columns(plan: Plan) -> dict[str, tuple[str, Callable[[Measured], float | None]]]:
    """Heading -> unit, and the number of an arm at one seed."""

    def metric(name: str) -> Callable[[Measured], float | None]:
        return lambda arm: arm.results[0].metric(name)

    return {
        "Refused, harmful": ("fraction", lambda arm: arm.refusal("harmful").value),
        "Refused, benign": ("fraction", lambda arm: arm.refusal("benign").value),
        "Length ratio": ("ratio", lambda arm: arm.length_ratio.value),
        "1 − Self-BLEU": ("ratio", metric("diversity")),
        "Contraction": ("ratio", metric("contraction.on_model")),
        "KL(m‖b)": ("nats", metric("kl_model_reference.on_model")),
        "KL(b‖m)": ("nats", metric("kl_reference_model.on_reference")),
        "General": ("fraction", lambda arm: _general(plan, arm.results[0])),
    }


def _general(plan: Plan, result: Result) -> float | None:
    tasks = [task for task in result.evaluation.tasks if task.name in plan.general]
    scored = [value for task in tasks if (value := task.metrics[task.primary].value) is not None]
    return sum(scored) / len(scored) if len(scored) == len(plan.general) else None


def _over_seeds(values: Sequence[float], unit: str) -> str:
    """Mean with a Student interval over seeds; one seed is marked, and has none."""
    if not values:
        return MISSING
    if len(values) == 1:
        return f"{number(values[0], unit)} ¹"
    return interval(stats.mean(list(values), unit=unit))


def _compared(plan: Plan, family: Family) -> list[tuple[str, str, list[Result], list[Result]]]:
    """The comparisons whose two arms are there: claim, names, results of both."""
    found = []
    for pair in plan.comparisons:
        if pair.first in family and pair.second in family:
            first, second = paired(family[pair.first], family[pair.second])
            if first and second:
                found.append((pair.claim, f"{pair.first} → {pair.second}", first, second))
    return found


def _half_width(finding: Finding) -> str:
    estimate = finding.change.change
    if estimate.low is None or estimate.high is None:
        return MISSING
    return f"{number((estimate.high - estimate.low) / 2, estimate.unit)}{suffix(estimate.unit)}"


def _described(verdict: Verdict) -> str:
    """`collapsed (sharpening, looping)`."""
    return verdict.state + (f" ({', '.join(verdict.damages)})" if verdict.damages else "")
