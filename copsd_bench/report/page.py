"""The report of some records as one HTML file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from copsd_bench import __version__
from copsd_bench.errors import CopsdError
from copsd_bench.records.rules import Rules
from copsd_bench.records.schema import RunRecord
from copsd_bench.report.behaviour import copying, diversity, lengths, refusal, scores
from copsd_bench.report.provenance import provenance
from copsd_bench.report.samples import samples
from copsd_bench.report.sides import Side, sides_of
from copsd_bench.report.svg import marker
from copsd_bench.report.tradeoff import tradeoff
from copsd_bench.report.verdicts import verdicts
from copsd_bench.report.white_box import divergence, leakage

SECTIONS = (tradeoff, lengths, refusal, divergence, diversity, copying, leakage, scores)
"""Parts of the page in order, each made of the sides on it."""


def report(records: Sequence[RunRecord], logs: Sequence[Path | None], rules: Rules, show_harmful: bool = False) -> str:
    """The page as HTML.

    Args:
        records: in order; the first is what the others are set against where they hold no reference of their own.
        logs: each record's folder of Inspect logs, None where it is not at hand.
        rules: of the gate.
        show_harmful: show answers to harmful requests too.

    Raises:
        CopsdError: no record, or a record without tasks.
    """
    if not records:
        raise CopsdError("There is no record to report on; give the JSON files that `copsd-bench run` wrote.")
    for record in records:
        if not record.tasks:
            name = f"{record.model.name} (run {record.run_id[:12]})"
            raise CopsdError(f"The record of {name} has no task; repeat the run.")
    sides = sides_of(records)
    runs = [side for side in sides if side.record is not None]
    judged, doubts = verdicts(sides, rules)
    known = {side.index: folder for side, folder in zip(runs, logs, strict=True) if folder is not None}
    return render(
        "report.html.j2",
        title=_title(records),
        sides=[{"index": side.index, "label": side.label, "role": _role(side)} for side in sides],
        verdicts=judged,
        no_verdict=" ".join(doubts) or "one record has nothing to be judged against; give its base's record first.",
        doubts=doubts if judged else [],
        sections=[section for make in SECTIONS if not (section := make(sides)).empty],
        samples=samples(sides, known, show_harmful),
        provenance=provenance(sides),
        notes=_notes(records),
        sources=f"{len(records)} record{'s' if len(records) > 1 else ''}",
    )


def render(template: str, **values: Any) -> str:
    """A template of this package, filled in; texts are escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("copsd_bench.report"),
        autoescape=select_autoescape(["html.j2"], default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%").replace(" ×", "\u00a0×")
    environment.globals |= {"version": __version__, "marker": marker}
    return environment.get_template(template).render(**values)


def _title(records: Sequence[RunRecord]) -> str:
    names = list(dict.fromkeys(record.model.name for record in records))
    return f"{', '.join(names)}: safer, or only shorter?"


def _role(side: Side) -> str:
    if side.record is None:
        return "reference"
    return f"{len(side.record.tasks)} task{'s' if len(side.record.tasks) > 1 else ''}"


def _notes(records: Sequence[RunRecord]) -> list[str]:
    found = [note for record in records for note in record.notes]
    found += [f"{task.name}: {note}" for record in records for task in record.tasks for note in task.notes]
    return list(dict.fromkeys(found))
