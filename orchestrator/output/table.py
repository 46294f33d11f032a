"""Tables in a terminal, where a character takes no column, one or two, and an emoji may be several characters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

GAP = "  "
"""The space between two columns."""

# A flag is two letters of this kind: one alone has another width in many terminals.
_HALF_FLAG = re.compile(
    "(?<![\U0001f1e6-\U0001f1ff])((?:[\U0001f1e6-\U0001f1ff]{2})*)[\U0001f1e6-\U0001f1ff]$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table, as wide as its cells but `least` columns of the terminal; cut after `most` of them.

    What somebody has to read to the end or to type, such as a time or a run's id, has no `most`.
    """

    head: str
    least: int = 0
    most: int | None = None

    def width(self, cells: Sequence[str]) -> int:
        """Columns of the terminal that the column takes with these cells."""
        widest = max(map(cell_len, cells), default=0)
        return max(self.least, widest if self.most is None else min(widest, self.most))


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The head, and a line for each row, which has a cell for each column; the last column is never cut."""
    heads = [column.head for column in columns]
    cells = zip(heads, *rows, strict=True)
    widths = [column.width(texts) for column, texts in zip(columns, cells, strict=True)]
    for row in (heads, *rows):
        yield align_cells(row, widths[:-1])


def align_cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The line of a table with each cell in its width, and the last one, which has none, as it is."""
    *fitting, last = cells
    return GAP.join((*map(fit_text, fitting, widths), last)).rstrip()


def fit_text(text: str, columns: int) -> str:
    """The text in exactly that many columns of the terminal: filled with spaces, or cut with an ellipsis."""
    if cell_len(text) > columns:
        text = _HALF_FLAG.sub(r"\1", set_cell_size(text, columns - 1)) + "…"
    return set_cell_size(text, columns)
