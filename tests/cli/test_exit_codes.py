"""The table of exit codes in docs/commands.md: each of its rows, against the simulator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.simulator import Simulator, example_world, serve
from tests.support.commands import ran

pytestmark = pytest.mark.socket

DOCUMENT = Path(__file__).parents[2] / "docs" / "commands.md"

JOBFILE = """\
version: 1
name: edge
organizations: {acme: {token_env: TE_TOKEN}}
jobs: [{name: a, WHICH, windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}]
"""

AWAY = "http://127.0.0.1:9"
"""The discard port: nobody listens there."""


def documented_rows() -> list[tuple[str, str, int]]:
    """The situation, the command line and the exit code of each row of the table."""
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.partition("| situation | commands | code |\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]
    return [
        (situation, command, int(code))
        for situation, commands, code in rows
        for command in re.findall(r"`([^`]+)`", commands)
    ]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with job files and an API that answers; the store is made by the first run."""
    simulator = Simulator(example_world(1, 3), latency=(0.0, 0.0))
    tests = [test.test_id for test in simulator.world.organizations[0].account_groups[0].tests]
    for name, which in {
        "jobs.yaml": f'tests: ["{tests[0]}"]',
        "select.yaml": "select: {test_name: '*'}",
        "nothing.yaml": "select: {test_name: nobody-calls-a-test-so}",
        "unknown-test.yaml": 'tests: ["999999"]',
        "broken.yaml": "test: []",
    }.items():
        (tmp_path / name).write_text(JOBFILE.replace("WHICH", which), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with serve(simulator) as url:
        for name, value in {
            "TE_TOKEN": "token-1",
            "TE_BASE_URL": url,
            "TESNAP_STORE": f"sqlite:///{tmp_path}/store.db",
        }.items():
            monkeypatch.setenv(name, value)
        yield tmp_path


SETTINGS = {
    "the API is out of reach": ("TE_BASE_URL", AWAY),
    "the token is refused": ("TE_TOKEN", "wrong"),
    "there is no token": ("TE_TOKEN", ""),
    "the store's address is invalid": ("TESNAP_STORE", "postgresql://u@h:badport/x"),
    "the store is out of reach": ("TESNAP_STORE", "postgresql://u@127.0.0.1:9/x"),
}
"""Situations that are one variable."""


def prepare_situation(situation: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring about what the first column says."""
    if situation in SETTINGS:
        monkeypatch.setenv(*SETTINGS[situation])
    elif situation == "a run is finished":
        assert ran("run", "jobs.yaml", "--run-id", "r1").code == 0
    elif situation == "a run failed":
        assert ran("run", "unknown-test.yaml", "--run-id", "r1").code == 3
    elif situation == "a run is cancelled":
        with pytest.MonkeyPatch.context() as refused:
            refused.setenv("TE_TOKEN", "wrong")
            assert ran("run", "jobs.yaml", "--run-id", "r1").code == 4
        assert ran("cancel", "r1").code == 0
    elif situation == "the store cannot be written":
        (folder / "store.db").mkdir()
    else:
        assert situation in ("no store yet", "the command line is wrong")


@pytest.mark.parametrize(("situation", "command", "code"), documented_rows())
def test_each_row_of_the_table(
    situation: str, command: str, code: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As documented; at 2 nothing is on standard output, and no command but one that plans a run makes a store."""
    prepare_situation(situation, place, monkeypatch)
    ended = ran(*command.split())
    assert ended.code == code, ended.stderr
    if code == 2:
        assert ended.stdout == ""
    if situation == "no store yet":
        assert not (place / "store.db").exists()
    assert "Traceback" not in ended.stderr


def test_the_table_has_every_command_that_needs_a_store() -> None:
    """And each of the codes that one can bring about by hand."""
    commands = {command.split()[0] for _, command, _ in documented_rows()}
    assert commands >= {
        "run",
        "plan",
        "tests",
        "snap",
        "resume",
        "status",
        "runs",
        "cancel",
        "settle",
        "report",
        "list",
    }
    assert {code for _, _, code in documented_rows()} == {0, 2, 3, 4, 5}
