"""The gate's result and the verdict on collapse, for people."""

from typing import get_args

from copsd_bench.records.findings import Finding, Status
from copsd_bench.records.format import interval, number
from copsd_bench.records.gate import GateResult
from copsd_bench.records.grid import Grid
from copsd_bench.records.verdict import Verdict, verdict_lines

SHOWN: tuple[Status, ...] = ("red", "undecided")


def gate_parts(result: GateResult, everything: bool = False) -> list[Grid | str]:
    """The outcome, the verdict on collapse, further reasons with where they were found, and the findings as a table.

    Args:
        everything: show the findings that passed too.
    """
    counts = {status: sum(finding.status == status for finding in result.findings) for status in get_args(Status)}
    outcome = f"Verdict: {result.verdict}" + (f" ({', '.join(result.symptoms)})" if result.symptoms else "")
    passed = counts["ok"] + counts["noise"]
    counted = f"{counts['red']} red, {counts['undecided']} undecided, {passed} passed"
    lines = [outcome, *verdict_lines(result.collapse), f"{result.record} against {result.baseline}: {counted}."]
    reasons: dict[str, list[str]] = {}
    for finding in result.findings:
        if finding.status in SHOWN and not _is_reason(finding, result.collapse):
            reasons.setdefault(f"- {finding.status}: {finding.reason}", []).append(finding.where)
    lines += [f"{reason} ({', '.join(dict.fromkeys(places))})" for reason, places in reasons.items()]
    lines += [f"Note: {note}" for note in result.notes]
    if result.skipped:
        lines.append(f"Not measured, so skipped: {', '.join(result.skipped)}.")
    grid = _grid([finding for finding in result.findings if everything or finding.status in SHOWN])
    text = "\n".join([*lines, ""])
    return [text, grid] if grid.rows else [text]


def _is_reason(finding: Finding, verdict: Verdict) -> bool:
    """Whether the verdict on collapse says this finding already."""
    return finding.damage is not None and (finding.status == "red" or verdict.state == "undecided")


def _grid(findings: list[Finding]) -> Grid:
    grid = Grid(
        "Findings (rates in per cent)", ["Verdict", "Rule", "Task", "Base", "Now", "Change", "Tolerated", "n"], texts=3
    )
    styles = {"red": "red", "undecided": "yellow", "noise": "dim", "ok": "dim"}
    for finding in findings:
        change = finding.change
        unit = change.change.unit
        shown = "nats" if change.statistic == "entropy" else "tokens" if change.kind == "ratio" else unit
        grid.add(
            finding.status,
            finding.rule,
            finding.where,
            number(change.base, shown),
            number(change.other, shown),
            interval(change.change, signed=change.kind == "difference"),
            finding.tolerated,
            str(change.change.n),
            style=styles[finding.status],
        )
    return grid
