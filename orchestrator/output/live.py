"""The live line: the only module that draws with rich, which is imported only where somebody looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, cast

from orchestrator.output.streams import Lines

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text


ECHO = len("^C^C")
"""Columns kept free at the right: where a terminal echoes Ctrl-C, in a full line, all would move down by one."""


class LiveLine:
    """Lines at the bottom of a terminal that are drawn over and over; taken away while others print."""

    def __init__(
        self, stderr: Lines, *, no_color: bool = False, environ: Mapping[str, str] | None = None
    ) -> None:
        from rich.console import Console

        self._console = Console(
            file=cast("IO[str]", stderr),
            no_color=no_color,
            markup=False,
            emoji=False,
            highlight=False,
            _environ=environ,
        )
        self._live: Live | None = None
        self._lines: tuple[str, ...] = ()

    @property
    def dumb(self) -> bool:
        """True if the terminal cannot draw over what it shows."""
        return self._console.is_dumb_terminal or not self._console.is_terminal

    def show(self, lines: Sequence[str]) -> None:
        """Draw these lines instead of the last ones, unless they are the same."""
        from rich.live import Live

        if self._live and tuple(lines) == self._lines:
            return
        self._lines = tuple(lines)
        text = self._fit(lines)
        if self._live:
            self._live.update(text, refresh=True)
            return
        self._live = Live(
            text,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def _fit(self, lines: Sequence[str]) -> Text:
        """The lines as the terminal has room for them: one that fills it is left behind when it scrolls."""
        from rich.text import Text

        width, most = max(1, self._console.width - ECHO), max(1, self._console.height - 1)
        written = Text("\n".join(line[: width * most] for line in lines[:most]), style="dim")
        rows = written.wrap(self._console, width, overflow="fold")
        return Text("\n", no_wrap=True).join(rows[:most])

    def hide(self) -> tuple[str, ...]:
        """Take the lines away and give the cursor back; returns the lines."""
        if self._live is None:
            return ()
        self._live.stop()
        self._live = None
        return self._lines
