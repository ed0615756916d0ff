"""A table of texts, shown in a terminal, in markdown or as csv."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderResult

GAP = 2
"""Characters between two columns."""
LABEL = 24
"""Characters that a label keeps if it has them."""


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
        from rich.console import Group
        from rich.text import Text

        return Group(Text(self.title, style="bold"), _Fitted(self), "")

    def parts(self, width: int) -> list[list[int]]:
        """Columns of as many tables as a terminal of so many characters needs; each has the columns of text."""
        labels, numbers = range(self.texts), range(self.texts, len(self.headings))
        left = width - sum(self.least(i) + GAP for i in labels)
        parts: list[list[int]] = []
        room = 0
        for i in numbers:
            needed = max(map(len, self._column(i))) + GAP
            if not parts or room < needed:
                parts.append([*labels])
                room = left + GAP
            parts[-1].append(i)
            room -= needed
        return parts or [[*labels]]

    def least(self, i: int) -> int:
        """Characters that a column of text keeps: its longest word, and as much as it needs up to `LABEL`."""
        cells = self._column(i)
        return max(max(len(word) for cell in cells for word in cell.split() or [""]), min(max(map(len, cells)), LABEL))

    def _column(self, i: int) -> list[str]:
        return [self.headings[i], *(row[i] for row in self.rows)]

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


@dataclass
class _Fitted:
    """A grid as one table, or as several below each other where the terminal is too narrow for all numbers."""

    grid: Grid

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        grid = self.grid
        for number, columns in enumerate(grid.parts(options.max_width)):
            if number:
                yield ""
            table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
            for i in columns:
                text = i < grid.texts
                table.add_column(
                    escape(grid.headings[i]),
                    justify="left" if text else "right",
                    no_wrap=not text,
                    min_width=grid.least(i) if text else None,
                )
            for number, row in enumerate(grid.rows):
                table.add_row(*(escape(row[i]) for i in columns), style=grid.styles.get(number))
            yield table


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"
