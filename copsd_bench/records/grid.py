"""A table of texts, shown in a terminal, in markdown or as csv."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group


@dataclass
class Grid:
    """Headings and rows of cells.

    Attributes:
        title: shown above.
        headings: one a column.
        rows: cells, already formatted.
        texts: how many leading columns hold text (left-aligned, may wrap); the others hold numbers.
        styles: rich style of a row by its index.
    """

    title: str
    headings: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    texts: int = 1
    styles: dict[int, str] = field(default_factory=dict)

    def add(self, *cells: str, style: str = "") -> None:
        """Append a row."""
        if style:
            self.styles[len(self.rows)] = style
        self.rows.append(list(cells))

    def rich(self) -> "Group":
        """For a terminal, followed by an empty line."""
        from rich import box
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for i, heading in enumerate(self.headings):
            table.add_column(escape(heading), justify="left" if i < self.texts else "right", no_wrap=i >= self.texts)
        for i, row in enumerate(self.rows):
            table.add_row(*map(escape, row), style=self.styles.get(i))
        return Group(Text(self.title, style="bold"), table, "")

    def markdown(self) -> str:
        """As a GitHub table under its title."""
        lines = [
            _line(self.headings),
            _line([":--" if i < self.texts else "--:" for i in range(len(self.headings))]),
            *map(_line, self.rows),
        ]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"

    def csv(self) -> str:
        """As comma-separated values, headings first."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([self.headings, *self.rows])
        return out.getvalue()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"
