"""The page of the evidence, made of the committed records alone: README.md, report.html, figures and LEADERBOARD.md."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from copsd_bench.cachedir import write_atomic
from copsd_bench.records.grid import Grid
from copsd_bench.records.leaderboard import leaderboard, leaderboard_parts
from copsd_bench.report.chart import Chart
from copsd_bench.report.document import Part, document, standalone
from tests.evidence.figures import arms_figure, safety_figure
from tests.evidence.plan import FOLDER, Plan
from tests.evidence.results import Family, read_family
from tests.evidence.tables import arms_table, comparison_table, power_table, verdict_table

MADE = "Made by `python -m tests.evidence --page` from the records in results/evidence/records"
LEGEND = (
    "¹ one seed: no interval over seeds. Without training, greedy answers are the same at every seed. Length ratio: "
    "mean tokens of greedy answers to harmless prompts, against the base. Contraction: exp(H_model − H_base) on the "
    "arm's own sampled answers. m: model, b: base; KL(m‖b) on the model's answers, KL(b‖m) on the base's, nats a "
    "token. General: mean score of the general sets. Verdict: of the sampled answers seed by seed / of all greedy ones."
)
DIRECTION = (
    "Sampled: the collapse suite against its own reference. Greedy: all sets against the base's answers. Mode seeking: "
    "(KL(b‖m) − KL(m‖b)) / (KL(b‖m) + KL(m‖b)). Above 0 the arm leaves out what its base would say, below 0 it adds "
    "what its base would not; undecided: the interval holds 0."
)
COMPARED = (
    "Length, refused and complied: greedy answers; length of those to harmless prompts. Entropy: exp of the "
    "difference, of each arm's own sampled answers to harmless prompts. All seeds of an arm together, of two trained "
    "arms those that both have; a prompt is one cluster."
)
POWER = (
    "Half the interval is about the smallest change that could have been shown. The words are the gate's: red, the "
    "whole interval is worse than tolerated; ok, all of it is within; noise, worse, but on which side of the limit is "
    "open; undecided, it holds both no change and the limit, or there are too few answers for the gate."
)


@dataclass(frozen=True)
class Chapter:
    """What the page says of one family."""

    title: str
    suffix: str
    tables: list[tuple[Grid, str]]
    figures: dict[str, Chart]


def pages(plan: Plan, folder: Path = FOLDER) -> dict[str, str]:
    """File (relative to `folder`) -> text; empty as long as no base has a record."""
    families = {start: read_family(plan, start, folder) for start in plan.families}
    families = {start: family for start, family in families.items() if family}
    if not families:
        return {}
    chapters = [_chapter(plan, start, family) for start, family in families.items()]
    done = sum(len(arm.seeds) for family in families.values() for arm in family.values())
    state = f"{done} of {sum(len(arm.seeds) for arm in plan.arms)} runs of plan.yaml are there{_rounded(families)}"
    reading = folder / "reading.md"
    own_words = reading.read_text(encoding="utf-8") if reading.exists() else ""
    return {
        "README.md": _markdown(plan, chapters, state, own_words),
        "report.html": _html(plan, chapters, state, own_words),
        "../LEADERBOARD.md": _leaderboard(families.values()),
    } | {
        f"{name}{chapter.suffix}.svg": standalone(figure, width)
        for chapter in chapters
        for (name, figure), width in zip(chapter.figures.items(), (860, 640), strict=True)
    }


def _rounded(families: Mapping[str | None, Family]) -> str:
    """Which runs were computed in another number format than their base, which moves answers by rounding."""
    found: dict[str, list[str]] = {}
    for family in families.values():
        for name, measured in family.items():
            formats = {result.evaluation.model.dtype for result in measured.base}
            for seed, result in measured.seeds.items():
                dtype = result.evaluation.model.dtype
                if dtype not in formats:
                    found.setdefault(f"{dtype} instead of {' and '.join(sorted(formats))}", []).append(
                        f"{name} ({seed})"
                    )
    return "".join(f"; computed in {formats} (seed in brackets): {', '.join(runs)}" for formats, runs in found.items())


def write_pages(plan: Plan, folder: Path = FOLDER) -> list[Path]:
    """Write the page and its figures; what people say of them stands in reading.md beside it."""
    written = []
    for name, content in pages(plan, folder).items():
        path = (folder / name).resolve()
        write_atomic(path, content.encode())
        written.append(path)
    return written


def _chapter(plan: Plan, start: str | None, family: Family) -> Chapter:
    tables = [
        (arms_table(plan, family), LEGEND),
        (verdict_table(family), DIRECTION),
        (comparison_table(plan, family), COMPARED),
        (power_table(plan, family), POWER),
    ]
    figures = {"arms": arms_figure(family), "safety": safety_figure(family)}
    kept = [(grid, note) for grid, note in tables if grid.rows]
    return Chapter(f"From {start or plan.model}", f"-{start}" if start else "", kept, figures)


def _markdown(plan: Plan, chapters: list[Chapter], state: str, own_words: str) -> str:
    parts = [
        "# Evidence\n",
        f"{MADE} ({state}). [PLAN.md](PLAN.md) says what was planned before the runs.\n",
        f"## Reading\n\n{own_words}" if own_words else "",
    ]
    for chapter in chapters:
        parts.append(f"## {chapter.title}\n")
        for name, figure in chapter.figures.items():
            parts.append(f"![{figure.title}]({name}{chapter.suffix}.svg)\n\n{figure.note}\n")
        for grid, note in chapter.tables:
            parts.append(f"{grid.markdown()}\n{note}\n")
    parts.append("## Arms\n\n" + "\n".join(f"- **{arm.name}**: {arm.about}." for arm in plan.arms))
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _html(plan: Plan, chapters: list[Chapter], state: str, own_words: str) -> str:
    from markdown_it import MarkdownIt

    parts = [Part("Reading", html=MarkdownIt("js-default").render(own_words))] if own_words else []
    for chapter in chapters:
        arms, safety = chapter.figures.values()
        parts.append(Part(chapter.title, wide=[arms], charts=[safety]))
        parts += [Part(grids=[grid], notes=[note]) for grid, note in chapter.tables]
    about = Grid("", ["Arm", "What it is"], texts=2)
    for arm in plan.arms:
        about.add(arm.name, arm.about)
    parts.append(Part("Arms", grids=[about]))
    lead = f"{state[:1].upper()}{state[1:]}; PLAN.md says what was planned before they were made."
    return document("Does it hold?", "Evidence", lead, parts, "the records in results/evidence/records")


def _leaderboard(families: Iterable[Family]) -> str:
    """One evaluation an arm, of its first seed."""
    first = {name: arm.results[0].evaluation for family in families for name, arm in family.items()}
    parts = leaderboard_parts(leaderboard(list(first.values()), names=list(first)))
    made = f"{MADE}: the first seed of every arm, which evidence/README.md describes.\n"
    return "\n".join(["# Leaderboard\n", made, *(part if isinstance(part, str) else part.markdown() for part in parts)])
