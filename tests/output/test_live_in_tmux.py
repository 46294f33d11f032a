"""The live line in a real terminal, which tmux is: it breaks lines anew when it is resized."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.simulator import Simulator, example_world, serve
from tests.support.programs import find_program

JOBFILE = """
version: 1
organizations: {{acme: {{token_env: TOKEN, base_url: "{url}"}}}}
jobs: [{{name: checkout, select: {{test_name: "*"}}, windows: [{{last: 1h}}]}}]
"""

PATIENCE = 120.0
"""Seconds until something has to be on the screen: a busy machine takes its time."""


class Screen:
    """A terminal with one program in it."""

    def __init__(self, tmux: list[str]) -> None:
        self._tmux = tmux

    def call(self, *words: str) -> str:
        """One of tmux's own commands; returns what it prints."""
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def lines(self) -> list[str]:
        """What can be seen, and what has scrolled away above it."""
        return self.call("capture-pane", "-p", "-S", "-").splitlines()

    def resize(self, columns: int) -> None:
        """Give it another width."""
        self.call("resize-window", "-x", str(columns))

    def await_lines(self, sought: Callable[[list[str]], bool]) -> list[str]:
        """The lines as soon as they are as sought."""
        end = time.monotonic() + PATIENCE
        while not sought(lines := self.lines()):
            assert time.monotonic() < end, "\n".join(lines)
            time.sleep(0.1)
        return lines


@contextmanager
def terminal(command: list[str], folder: Path, columns: int) -> Iterator[Screen]:
    """A terminal of so many columns in which the command runs."""
    tmux = [str(find_program("tmux", "tmux")), "-S", str(folder / "tmux"), "-f", os.devnull]
    words = shlex.join([*command]) + "; sleep 600"
    subprocess.run([*tmux, "new-session", "-d", "-x", str(columns), "-y", "40", words], check=True)
    screen = Screen(tmux)
    try:
        yield screen
    finally:
        screen.call("kill-server")


def count(lines: list[str], *words: str) -> tuple[int, ...]:
    """How often each of these words is to be seen."""
    return tuple("\n".join(lines).count(word) for word in words)


@pytest.mark.process
def test_the_live_line_is_true_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """After five links it says five; however the terminal is resized, there is one live line."""
    with serve(Simulator(example_world(1, 10))) as url:
        (tmp_path / "jobs.yaml").write_text(JOBFILE.format(url=url))
        command = [
            "env",
            "-u",
            "COLUMNS",
            "-u",
            "LINES",
            "TOKEN=token-1",
            f"HOME={tmp_path}",
            "TZ=UTC",
            "LANG=C.UTF-8",
        ]
        command += [sys.executable, "-m", "orchestrator", "run", str(tmp_path / "jobs.yaml")]
        with terminal(command, tmp_path, 100) as screen:
            screen.await_lines(lambda lines: sum("app.thousandeyes.com" in x for x in lines) == 5)
            screen.await_lines(lambda lines: any("5 of 10 settled" in line for line in lines))
            for columns in (60, 44, 100, 52):
                screen.resize(columns)
                before = screen.lines()
                screen.await_lines(lambda lines, old=before: lines != old)  # type: ignore[misc] # bound now
            before = screen.lines()
            screen.await_lines(lambda lines: lines != before)  # the line counts down: it is drawn once more
            screen.await_lines(lambda lines: count(lines, "of 10 settled", "app.thousandeyes.com") == (1, 5))
