"""Figures as papers report them: `results/reported/*.json`, one file a paper. They are not measured here.

Each table says where it stands, how it was read (a printed table, a figure, somebody's digest) and what is known to be
wrong or unusual about its numbers; none of them is comparable with a record.
"""

import json
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from copsd_bench.errors import CopsdError, first_problem
from copsd_bench.records.schema import Strict

Evidence = Literal["table", "text", "figure", "abstract", "readme", "digest", "computed"]
"""How a number was obtained."""
EVIDENCE: dict[Evidence, str] = {
    "table": "printed in a table",
    "text": "printed in the text",
    "figure": "read off a figure, within one or two per cent of its axis",
    "abstract": "from the abstract",
    "readme": "from a README",
    "digest": "from a third party's notes, not checked against the paper",
    "computed": "computed from other numbers of the source",
}
"""The same in words."""


class Source(Strict):
    """A paper or repository."""

    paper: str
    title: str
    version: str = ""
    url: str = ""
    modality: Literal["text", "vision-language"]


class ReportedMetric(Strict):
    """A column.

    Attributes:
        better: `none` where neither direction is better.
        evidence: where it differs from the table's.
        measured: `TASK:METRIC` of a record that stands for the same quantity.
    """

    name: str
    unit: Literal["%", "tokens", "nats per token", "score", "ratio"]
    better: Literal["higher", "lower", "none"]
    evidence: Evidence | None = None
    note: str = ""
    measured: str = ""


class ReportedRow(Strict):
    """A system and its numbers, one a metric; None where the source has none."""

    system: str
    values: list[float | None]
    evidence: Evidence | None = None
    note: str = ""


class ReportedTable(Strict):
    """One table of a source, on one base model.

    Attributes:
        decimals: digits printed behind the point.
        where: table, figure or section of the source.
        chart: two metrics, both better when higher, to draw against each other: x and y.
    """

    id: str
    title: str
    where: str
    evidence: Evidence
    base_model: str
    decimals: int = Field(ge=0, le=4)
    metrics: list[ReportedMetric] = Field(min_length=1)
    rows: list[ReportedRow] = Field(min_length=1)
    chart: tuple[str, str] | None = None
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        for row in self.rows:
            if len(row.values) != len(self.metrics):
                raise ValueError(f"row {row.system!r} has {len(row.values)} values for {len(self.metrics)} metrics")
        for what, names in (("system", [r.system for r in self.rows]), ("metric", [m.name for m in self.metrics])):
            if len(set(names)) < len(names):
                raise ValueError(f"a {what} stands twice in table {self.id!r}")
        for name in self.chart or ():
            if not any(metric.name == name and metric.better == "higher" for metric in self.metrics):
                raise ValueError(f"the chart's {name!r} is no metric of table {self.id!r} that is better when higher")
        return self

    def evidence_of(self, row: ReportedRow, metric: ReportedMetric) -> Evidence:
        """How one number was obtained."""
        return row.evidence or metric.evidence or self.evidence

    def value(self, system: str, metric: str) -> float | None:
        """One number."""
        row = next(row for row in self.rows if row.system == system)
        return row.values[[found.name for found in self.metrics].index(metric)]


class Reported(Strict):
    """A file of `results/reported`. `format` is its schema's version; records alone have a `schema_version`."""

    format: Literal[1]
    source: Source
    tables: list[ReportedTable] = Field(min_length=1)
    notes: list[str] = Field(default_factory=list)

    def table(self, id: str) -> ReportedTable:
        """A table by its id."""
        return next(table for table in self.tables if table.id == id)


def reported_dir() -> Path:
    """Folder of the files (in a wheel inside the package, in a checkout under `results`)."""
    package = Path(__file__).parent.parent
    packaged = package / "reported"
    return packaged if packaged.is_dir() else package.parent / "results" / "reported"


@cache
def all_reported() -> tuple[Reported, ...]:
    """Every file, by name.

    Raises:
        CopsdError: a file is no JSON or does not follow the schema (which field, and why).
    """
    return tuple(read_reported(path) for path in sorted(reported_dir().glob("*.json")))


def read_reported(path: Path) -> Reported:
    """One file.

    Raises:
        CopsdError: as in `all_reported`.
    """
    try:
        return Reported.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CopsdError(f"Reported figures {path} are not valid JSON ({error}); restore the file.") from error
    except ValidationError as error:
        where, what = first_problem(error)
        raise CopsdError(f"Reported figures {path} are wrong at {where}: {what}; correct the file.") from error
