"""Commands that read standard input say so on a terminal, where they would wait for somebody without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.terminals import TESNAP, on_terminal

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "command", [("snap", "-", "--last", "1h"), ("validate", "-")], ids=["snap", "validate"]
)
def test_on_a_terminal_it_is_said_what_is_waited_for(tmp_path: Path, command: tuple[str, ...]) -> None:
    """And Ctrl-D ends it."""
    environ = {"PATH": os.defpath, "HOME": str(tmp_path), "TERM": "xterm", "TE_TOKEN": "token-1"}
    environ |= {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    with on_terminal([*TESNAP, *command], environ, cwd=tmp_path) as terminal:
        terminal.wait_for("reading standard input")
        terminal.type("\x04")
        assert terminal.end() == 2
