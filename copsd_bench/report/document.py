"""A page of text, tables and charts that belong together, and a chart as a file of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from copsd_bench.records.grid import Grid
from copsd_bench.report.chart import Chart
from copsd_bench.report.page import render
from copsd_bench.report.svg import tag


@dataclass(frozen=True)
class Part:
    """A part of a document.

    Attributes:
        title, lead: its heading, and a sentence or two; without a heading it goes on with the part before.
        wide: charts that take the whole width.
        charts: charts that take about half of it.
        grids: tables.
        html: further text; it is taken as it is, so it must come from a trusted place.
        notes: small print.
    """

    title: str = ""
    lead: str = ""
    wide: Sequence[Chart] = ()
    charts: Sequence[Chart] = ()
    grids: Sequence[Grid] = ()
    html: str = ""
    notes: Sequence[str] = ()


def document(title: str, kicker: str, lead: str, parts: Sequence[Part], sources: str) -> str:
    """The page as one HTML file; `kicker` stands above its title, `sources` in its footer."""
    return render("document.html.j2", title=title, kicker=kicker, lead=lead, parts=parts, sources=sources)


def standalone(chart: Chart, width: int) -> str:
    """A chart as an SVG file, `width` pixels wide, in light or dark by what the reader's page asks for."""
    css = (files("copsd_bench.report") / "templates" / "charts.css").read_text(encoding="utf-8")
    font = 'svg { font-family: system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; }\n'
    paper = tag("rect", width="100%", height="100%", fill="var(--card)")
    opening, content = chart.svg.split(">", 1)
    opening = opening.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}"', 1)
    return f"{opening}>\n<style>\n{css}{font}</style>\n{paper}{content}\n"
