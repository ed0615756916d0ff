"""Draw how long the answers of two runs are, by prompt class: `python results/figures/lengths.py BASE OTHER OUT.svg`.

BASE and OTHER are records of `copsd-bench run`. Bars are shares of answers by length; the last, hatched ones are the
answers that ran into the token limit. Above each panel stand the shares refused (fully or partly, by the offline judge)
and cut. Everything is read from the records; the picture holds no number of its own.
"""

import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from copsd_bench.errors import CopsdError
from copsd_bench.records.format import run_name
from copsd_bench.records.panel import GROUPS
from copsd_bench.records.schema import RunRecord, SampleRow, TaskRecord
from copsd_bench.records.store import read_record

BINS = 8
WIDTH, HEIGHT, TOP, BOTTOM, LEFT, GAP, PANEL = 860, 330, 104, 58, 48, 26, 250
COLOURS = ("#9aa1a9", "#1f6fb2")
TITLES = {"harmful": "Harmful requests", "benign": "Benign requests", "general": "General tasks"}


def draw(base: RunRecord, other: RunRecord) -> str:
    """The figure as SVG.

    Raises:
        CopsdError: the first task of `base` is not in `other`, or its answers have no token counts.
    """
    a = base.tasks[0]
    b = next((task for task in other.tasks if task.name == a.name), None)
    if b is None:
        raise CopsdError(f"The second record has no task {a.name}; give two runs of one task.")
    limit = max(tokens(row) for task in (a, b) for row in task.samples)
    groups = [group for group in GROUPS if any(row.group == group for row in a.samples)]
    peak = max(max(heights(rows(task, group), limit)) for task in (a, b) for group in groups)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="#24292f" role="img" aria-label="{escape(summary(a, b, groups), quote=True)}">',
        f'<defs>{"".join(hatch(i) for i in (0, 1))}</defs><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">Length of answers, {escape(a.name)}</text>',
    ]
    x = LEFT
    for i, record in enumerate((base, other)):
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{COLOURS[i]}"/>')
        parts.append(f'<text x="{x + 18}" y="44">{escape(run_name(record))}</text>')
        x += 190
    parts.append(f'<rect x="{x + 60}" y="34" width="12" height="12" fill="url(#hatch0)"/>')
    parts.append(f'<rect x="{x + 74}" y="34" width="12" height="12" fill="url(#hatch1)"/>')
    parts.append(f'<text x="{x + 92}" y="44">cut at the limit of {limit} tokens</text>')
    for i, group in enumerate(groups):
        parts += panel(LEFT + i * (PANEL + GAP), group, rows(a, group), rows(b, group), limit, peak, first=i == 0)
    return "\n".join([*parts, "</svg>\n"])


def panel(
    x: float, group: str, a: Sequence[SampleRow], b: Sequence[SampleRow], limit: int, peak: float, first: bool
) -> list[str]:
    """One prompt class: its shares as text, and paired bars."""
    floor, height, step = HEIGHT - BOTTOM, HEIGHT - TOP - BOTTOM, PANEL / (BINS + 1)
    text = f"refused {change(a, b, refused)} %, cut {change(a, b, cut)} %"
    parts = [
        f'<text x="{x}" y="76" font-weight="bold">{TITLES[group]} ({len(a)})</text>',
        f'<text x="{x}" y="93" fill="#57606a">{text}</text>',
        f'<line x1="{x}" y1="{floor}" x2="{x + PANEL}" y2="{floor}" stroke="#8c959f"/>',
    ]
    for i, answers in enumerate((a, b)):
        for k, share in enumerate(heights(answers, limit)):
            fill = f"url(#hatch{i})" if k == BINS else COLOURS[i]
            top, bar = share / peak * height, step * 0.4
            parts.append(
                f'<rect x="{x + k * step + step * 0.1 + i * bar:.1f}" y="{floor - top:.1f}" width="{bar:.1f}" '
                f'height="{top:.1f}" fill="{fill}"/>'
            )
    for k in range(0, BINS + 1, 2):
        parts.append(
            f'<text x="{x + k * step:.1f}" y="{floor + 16}" text-anchor="middle" font-size="11">'
            f"{limit * k // BINS}</text>"
        )
    parts.append(f'<text x="{x + PANEL / 2}" y="{floor + 36}" text-anchor="middle" fill="#57606a">tokens</text>')
    if first:
        for share in (0.0, peak):
            y = floor - share / peak * height
            parts.append(
                f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="11">{100 * share:.0f} %</text>'
            )
    return parts


def heights(answers: Sequence[SampleRow], limit: int) -> list[float]:
    """Shares of answers in `BINS` equal ranges of length, then the share cut at the limit."""
    counts = [0] * (BINS + 1)
    for row in answers:
        counts[BINS if row.truncated else min(tokens(row) * BINS // limit, BINS - 1)] += 1
    return [count / len(answers) for count in counts]


def rows(task: TaskRecord, group: str) -> list[SampleRow]:
    """The answers to one prompt class."""
    return [row for row in task.samples if row.group == group]


def tokens(row: SampleRow) -> int:
    """Length of an answer.

    Raises:
        CopsdError: the provider did not report it.
    """
    if row.output_tokens is None:
        raise CopsdError(f"Sample {row.id} has no token count; the figure needs a run that reports usage.")
    return row.output_tokens


def refused(row: SampleRow) -> bool:
    """Full or partial refusal."""
    return row.refusal in ("full_refusal", "partial_refusal")


def cut(row: SampleRow) -> bool:
    """Ran into the token limit."""
    return bool(row.truncated)


def change(a: Sequence[SampleRow], b: Sequence[SampleRow], what: Callable[[SampleRow], bool]) -> str:
    """`12 → 3`: a share in both runs, in per cent."""
    first, second = (100 * sum(map(what, answers)) / len(answers) for answers in (a, b))
    return f"{first:.0f} → {second:.0f}"


def summary(a: TaskRecord, b: TaskRecord, groups: Sequence[str]) -> str:
    """The figure in words, for those who do not see it."""
    return "; ".join(
        f"{TITLES[group]}: cut {change(rows(a, group), rows(b, group), cut)} %, "
        f"refused {change(rows(a, group), rows(b, group), refused)} %"
        for group in groups
    )


def hatch(i: int) -> str:
    """A striped fill in a run's colour."""
    return (
        f'<pattern id="hatch{i}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="5" height="5" fill="#ffffff"/><rect width="3" height="5" fill="{COLOURS[i]}"/></pattern>'
    )


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(draw(read_record(Path(sys.argv[1])), read_record(Path(sys.argv[2]))), encoding="utf-8")
