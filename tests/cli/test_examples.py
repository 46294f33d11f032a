"""The examples at the end of each `--help` can be typed."""

from __future__ import annotations

import shlex

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import COMMANDS
from orchestrator.cli.commands import tesnap
from orchestrator.cli.examples import EXAMPLES


def test_every_command_has_two_or_three() -> None:
    """In the order of the commands."""
    assert list(EXAMPLES) == list(COMMANDS)
    assert {len(lines) for lines in EXAMPLES.values()} <= {2, 3}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_example_is_shown_and_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the shell would pass it on: no option is misspelt, no word is missing."""
    monkeypatch.delenv("TESNAP_STORE", raising=False)
    ctx = click.Context(tesnap)
    command = tesnap.get_command(ctx, name)
    assert command is not None
    shown = CliRunner().invoke(tesnap, [name, "--help"]).output.partition("Examples:")[2]
    for words in EXAMPLES[name]:
        assert f"tesnap {name} {words}".rstrip() in map(str.strip, shown.splitlines())
        typed = words.partition(">")[0].partition("|")[0]
        command.make_context(name, shlex.split(typed), parent=ctx)
