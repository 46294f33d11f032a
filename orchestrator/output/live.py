"""The live line: lines at the bottom of a terminal, drawn over and over. rich is imported only where somebody looks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import IO, cast

from rich.cells import cell_len

from orchestrator.output.streams import Lines

ECHO = len("^C^C")
"""Columns kept free at the right: where a terminal echoes Ctrl-C, in a full line, all would move down by one."""

HIDE_CURSOR, SHOW_CURSOR, DIM, PLAIN = "\x1b[?25l", "\x1b[?25h", "\x1b[2m", "\x1b[0m"

ERASE_ROW, ERASE_ROW_ABOVE = "\r\x1b[2K", "\x1b[1A\x1b[2K"


class LiveLine:
    """Lines that replace each other, and are taken away while others print.

    Most terminals break lines anew when they are made narrower: what was drawn may stand in more rows by then, and
    all of them are erased. xterm and the console of Linux cut instead.
    """

    def __init__(
        self, stderr: Lines, *, no_color: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        from rich.console import Console

        environ = os.environ if environ is None else environ
        self._stderr, self._styled = stderr, not no_color
        self._reflows = "XTERM_VERSION" not in environ and environ.get("TERM") != "linux"
        self._console = Console(file=cast("IO[str]", stderr), _environ=environ)
        self._lines: tuple[str, ...] = ()
        self._drawn: list[str] = []
        self._size = self._console.size

    @property
    def dumb(self) -> bool:
        """True if the terminal cannot draw over what it shows."""
        return self._console.is_dumb_terminal or not self._console.is_terminal

    def show(self, lines: Sequence[str]) -> None:
        """Draw these lines instead of the last ones, unless they are the same."""
        if self._drawn and (tuple(lines), self._console.size) == (self._lines, self._size):
            return
        erasure = self._erasure()
        self._lines, self._size, self._drawn = tuple(lines), self._console.size, self._fit(lines)
        text = "\n".join(self._drawn)
        self._stderr.write(erasure + HIDE_CURSOR + (f"{DIM}{text}{PLAIN}" if self._styled else text))

    def hide(self) -> tuple[str, ...]:
        """Take the lines away and give the cursor back; returns the lines."""
        if not self._drawn:
            return ()
        self._stderr.write(self._erasure() + SHOW_CURSOR)
        self._drawn = []
        return self._lines

    def _erasure(self) -> str:
        """The movements that take away what is drawn, from its last row up to its first."""
        if not self._drawn:
            return ""
        width = self._console.width if self._reflows else max(self._console.width, self._size.width)
        rows = sum(max(1, -(-cell_len(row) // width)) for row in self._drawn)
        return ERASE_ROW + ERASE_ROW_ABOVE * (min(rows, self._console.height) - 1)

    def _fit(self, lines: Sequence[str]) -> list[str]:
        """The lines as the terminal has room for them: one that fills it is left behind when it scrolls."""
        from rich.text import Text

        width, most = max(1, self._console.width - ECHO), max(1, self._console.height - 1)
        written = Text("\n".join(line[: width * most] for line in lines[:most]))
        rows = written.wrap(self._console, width, overflow="fold")
        return [row.plain.rstrip() for row in rows[:most]]
