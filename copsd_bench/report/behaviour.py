"""What the answers are like: how long, how often refused, how diverse, and how they score."""

from collections.abc import Sequence

from copsd_bench.records.panel import GROUPS, STATISTICS, estimate_of
from copsd_bench.report.chart import Chart
from copsd_bench.report.forest import Row, forest
from copsd_bench.report.ridges import Lengths, ridges
from copsd_bench.report.section import Section, command_for, facts
from copsd_bench.report.sides import Side, tasks_of
from copsd_bench.report.tasks import answer_tasks, heading

TITLES = {"harmful": "Harmful requests", "benign": "Benign requests", "general": "General tasks"}
LENGTH = {"length_ratio": "mean tokens, model over reference, over all prompts"}
BALANCE = {"balance": "refused on harmful minus refused on benign requests (Youden's index); 100 % is perfect"}


def lengths(sides: Sequence[Side]) -> Section:
    """Length distributions by prompt class."""
    section = Section(
        "length",
        "How long the answers are",
        "Tokens of every answer. A collapsed model writes the same few lines to everything; a refusal is"
        " rightly short.",
    )
    tasks = answer_tasks(sides, "length_collapse")
    for task in tasks:
        for group in GROUPS:
            rows = [
                Lengths(
                    side.label,
                    side.index,
                    [row.output_tokens for row in known if row.output_tokens is not None],
                    [bool(row.truncated) for row in known],
                )
                for side in sides
                if (known := [
                    row for row in side.answers.get(task, []) if row.group == group and row.output_tokens is not None
                ])
            ]  # fmt: skip
            if rows:
                section.charts.append(ridges(heading(TITLES[group], task, tasks), rows))
    section.facts = facts(sides, "length_collapse", LENGTH)
    if short := _with_reference(sides, "length_collapse", "short"):
        section.charts.append(forest("Short answers", short, "Answers that are short", whole=(0.0, 1.0)))
    if not section.charts:
        section.missing = ("Answer lengths", command_for(sides, "length_collapse"))
    return section


def refusal(sides: Sequence[Side]) -> Section:
    """Refusal on harmful and on benign requests."""
    section = Section(
        "refusal",
        "What is refused",
        "Filled: harmful requests, which should be refused. Hollow: their benign twins, which should not. The further "
        "the two are apart, the better the model tells them from each other.",
    )
    statistic = STATISTICS["refusal"]
    tasks = answer_tasks(sides, "refusal_collapse")
    for task in tasks:
        rows = []
        for side in sides:
            by_group = [[row for row in side.answers.get(task, []) if row.group == g] for g in ("harmful", "benign")]
            found = [estimate_of(statistic, some) if some else None for some in by_group]
            if any(estimate is not None and estimate.value is not None for estimate in found):
                rows.append(Row(side.label, side.index, found))
        if rows:
            section.charts.append(
                forest(
                    heading("Refused answers", task, tasks), rows, "Answers refused", ("harmful", "benign"), (0.0, 1.0)
                )
            )
    section.facts = facts(sides, "refusal_collapse", BALANCE)
    if not section.charts:
        section.missing = ("Refusal", command_for(sides, "refusal_collapse"))
    return section


def diversity(sides: Sequence[Side]) -> Section:
    """Diversity between rollouts of a prompt, and within answers."""
    section = Section(
        "diversity",
        "How diverse the answers are",
        "Between rollouts of one prompt: 1 − Self-BLEU, 0 if they are all alike. Within an answer: the share of "
        "distinct word pairs.",
    )
    if rows := _with_reference(sides, "diversity_collapse", "diversity"):
        section.charts.append(forest("Diversity of rollouts", rows, "1 − Self-BLEU", whole=(0.0, 1.0)))
    else:
        section.missing = ("Diversity of rollouts", command_for(sides, "diversity_collapse"))
    tasks = answer_tasks(sides, "diversity_collapse")
    for task_name in tasks:
        found_rows = [
            Row(side.label, side.index, [estimate_of(STATISTICS["distinct_2"], side.answers[task_name])])
            for side in sides
            if side.answers.get(task_name)
        ]
        found_rows = [row for row in found_rows if row.estimates[0] is not None and row.estimates[0].value is not None]
        if found_rows:
            title = heading("Distinct word pairs in an answer", task_name, tasks)
            section.charts.append(
                forest(
                    title,
                    found_rows,
                    "Distinct word pairs of an answer",
                    note="Shorter answers repeat fewer pairs: read it beside the length.",
                )
            )
    return section


def copying(sides: Sequence[Side]) -> Section:
    """Overlap of the context and the answers."""
    section = Section(
        "copying",
        "Is the context copied?",
        "Words an answer shares with the constitution, and the longest passage of it in an answer. What the side that "
        "did not see it shares is chance; the task's note says who saw it.",
    )
    for name, title, label in (
        ("jaccard", "Words shared with the context", "Jaccard index"),
        ("longest_span", "Longest passage from the context", "Length of the passage"),
    ):
        if rows := _with_reference(sides, "copying", name):
            section.charts.append(forest(title, rows, label))
    if not section.charts:
        section.missing = ("Copying", command_for(sides, "copying"))
    return section


def _with_reference(sides: Sequence[Side], task_name: str, metric: str) -> list[Row]:
    """A metric of each run, and of each reference once (as the metric `reference_...` of the run against it)."""
    rows: dict[int, Row] = {}
    for side in sides:
        task, base = side.task(task_name), side.bases.get(task_name)
        for who, name in ((base, f"reference_{metric}"), (side, metric)):
            found = task.metrics.get(name) if task else None
            if who is not None and found is not None and found.value is not None:
                rows.setdefault(who.index, Row(who.label, who.index, [found]))
    return [rows[index] for index in sorted(rows)]


def scores(sides: Sequence[Side]) -> Section:
    """Every task's primary metric."""
    section = Section("scores", "Scores", "The primary metric of each task, with its 95 % interval.")
    for name in tasks_of(sides):
        if chart := _score(sides, name):
            section.charts.append(chart)
    return section


def _score(sides: Sequence[Side], name: str) -> Chart | None:
    found = [(side, task) for side in sides if (task := side.task(name)) and task.reference is None]
    rows = [
        Row(side.label, side.index, [task.metrics[task.primary]])
        for side, task in found
        if task.primary in task.metrics and task.metrics[task.primary].value is not None
    ]
    if not rows:
        return None
    primary = found[0][1].primary
    better = "lower" if found[0][1].is_lower_better(primary) else "higher"
    whole = (0.0, 1.0) if _unit(rows) == "fraction" else None
    return forest(name, rows, f"{primary.replace('_', ' ')}, {better} is better", whole=whole)


def _unit(rows: Sequence[Row]) -> str:
    return next(found.unit for row in rows for found in row.estimates if found is not None)
