"""Tables and lines in a terminal, where a character takes no column, one or two, and an emoji may be several characters.

On a terminal nothing is broken within a word: a table that is too wide first loses spare room, then has its long
cells cut, and at last goes on in a second line; a sentence is wrapped. Away from one nothing is cut or wrapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from orchestrator.core import mask_secrets

GAP = "  "
"""The space between two columns."""

# A flag is two letters of this kind: one alone has another width in many terminals.
_HALF_FLAG = re.compile(
    "(?<![\U0001f1e6-\U0001f1ff])((?:[\U0001f1e6-\U0001f1ff]{2})*)[\U0001f1e6-\U0001f1ff]$"
)


_ONE_COLUMN = re.compile("[ -~\u00a1-\u02ff\u2010-\u2026]*")  # Latin letters, dashes, quotes: one column each

SHORTEST = 14
"""Columns of the terminal that are left to a cell which is cut: enough to recognize a name by."""


def cell_len(text: str) -> int:
    """The columns of a terminal that a text takes; only a text that is not plain has rich count them."""
    if _ONE_COLUMN.fullmatch(text):
        return len(text)
    from rich.cells import cell_len as count

    return count(text)


def set_cell_size(text: str, columns: int) -> str:
    """The text cut or filled with spaces to so many columns of a terminal."""
    if _ONE_COLUMN.fullmatch(text):
        return text[:columns].ljust(columns)
    from rich.cells import set_cell_size as fit

    return fit(text, columns)


class Column(NamedTuple):
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


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, room: int | None = None
) -> Iterator[str]:
    """The head, and each row, which has a cell for each column; the last column is never cut.

    `room` is the terminal's width. A table that cannot be made so narrow has several lines for each row.
    """
    for lines in table_rows(columns, rows, room=room):
        yield from lines


def table_rows(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, room: int | None = None
) -> Iterator[list[str]]:
    """As `table_lines`, with the lines of the head and of each row together."""
    heads = [column.head for column in columns]
    cells = list(zip(heads, *rows, strict=True))
    widths = _fit_widths(columns, cells, room)
    parts = _break_row(widths, room)
    for row in (heads, *rows):
        lines = (
            GAP * bool(first) * 2 + align_cells(row[first:last], widths[first : last - 1])
            for first, last in parts
        )
        yield [line for at, line in enumerate(lines) if not at or line.strip()]


def _fit_widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int | None) -> list[int]:
    """The width of each column, in this room if they can be made so narrow."""
    wanted = [column.width(texts) for column, texts in zip(columns, cells, strict=True)]
    if room is None or _total(wanted) <= room:
        return wanted
    spare = [min(width, max(map(cell_len, texts))) for width, texts in zip(wanted, cells, strict=True)]
    cut = list(spare)
    elastic = [at for at, column in enumerate(columns[:-1]) if column.most is not None]
    while _total(cut) > room and any(cut[at] > SHORTEST for at in elastic):
        cut[max(elastic, key=lambda at: cut[at])] -= 1
    return cut if _total(cut) <= room else spare


def _break_row(widths: Sequence[int], room: int | None) -> list[tuple[int, int]]:
    """The columns of each line of a row, as first and one past the last; each line has one at least."""
    parts, first = [], 0
    for last in range(1, len(widths) + 1):
        indent = 2 * len(GAP) * bool(first)
        if room is not None and last - first > 1 and indent + _total(widths[first:last]) > room:
            parts.append((first, last - 1))
            first = last - 1
    return [*parts, (first, len(widths))]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def fits(line: str, room: int | None) -> bool:
    """True if the line is no wider than the terminal, or there is none."""
    return room is None or cell_len(line) <= room


def wrap_line(line: str, room: int | None) -> Iterator[str]:
    """The line in this room, broken between words; what follows stands under its text, and no word is cut."""
    if room is None or fits(line, room):
        yield line
        return
    line = mask_secrets(line)  # a secret in two parts would be found by nobody
    start = line[: _text_starts_at(line)]
    below, written, empty = " " * (cell_len(start) or len(GAP)), start, True
    for word in line[len(start) :].split(" "):
        if not empty and cell_len(written) + cell_len(word) > room:
            yield written.rstrip()
            written = below
        written, empty = f"{written}{word} ", False
    yield written.rstrip()


def _text_starts_at(line: str) -> int:
    """The place where a line's text begins: behind its indent, and behind a first word that has a gap after it."""
    indent = len(line) - len(line.lstrip(" "))
    word = line[indent:].partition(GAP)[0]
    behind = indent + len(word)
    if " " not in word and behind < len(line) // 2:
        return behind + len(line[behind:]) - len(line[behind:].lstrip(" "))
    return indent


def align_cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The line of a table with each cell in its width, and the last one, which has none, as it is."""
    *fitting, last = cells
    return GAP.join((*map(fit_text, fitting, widths), last)).rstrip()


def fit_text(text: str, columns: int) -> str:
    """The text in exactly that many columns of the terminal: filled with spaces, or cut with an ellipsis."""
    if cell_len(text) > columns:
        text = mask_secrets(text)  # before a part of it is cut off, by which the rest would not be found
    if cell_len(text) > columns:
        text = _HALF_FLAG.sub(r"\1", set_cell_size(text, columns - 1)) + "…"
    return set_cell_size(text, columns)
