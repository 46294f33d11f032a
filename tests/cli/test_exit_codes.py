"""The table of exit codes in docs/commands.md: each of its rows, by a process of its own against the simulator."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from orchestrator.simulator import Exchange, Reply, Simulator, World, example_world, script_faults, serve
from tests.support.commands import LONGEST, ROOT, Ran, environment

pytestmark = pytest.mark.process

DOCUMENT = ROOT / "docs" / "commands.md"

ONE = "{acme: {token_env: TE_TOKEN}}"

TWO = "{acme: {token_env: TE_TOKEN}, globex: {token_env: OTHER_TOKEN}}"

JOBFILE = """\
version: 1
name: edge
organizations: ORGANIZATIONS
jobs: [{name: a, organization: "*", WHICH, windows: [{start: YEAR-11-20T14:00:00Z, end: YEAR-11-20T16:00:00Z}]}]
"""

AWAY = "http://127.0.0.1:9"
"""The discard port: nobody listens there."""

STOPS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGHUP": signal.SIGHUP}

BROKEN = """
import sys
from orchestrator.cli.process import open_streams, run_to_exit_code

def broken(words):
    raise RuntimeError("a bug")

open_streams()
sys.exit(run_to_exit_code(broken, []))
"""


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


PAGE = Reply(
    status=200,
    headers={"Content-Type": "text/html"},
    body=b"<!doctype html><html><head><title>Sign in</title></head><body>Guest network</body></html>",
)


class Api(Simulator):
    """The API, behind a network that can answer in its place."""

    captive = False

    def process(self, exchange: Exchange, at: float) -> Reply | None:
        return PAGE if self.captive else super().process(exchange, at)


@dataclass(slots=True, kw_only=True)
class Place:
    """A folder with job files, an API that answers, and the variables of a process; the first run makes the store."""

    folder: Path
    simulator: Api
    variables: dict[str, str] = field(default_factory=dict)

    def process(self, *words: str) -> subprocess.Popen[str]:
        """A command that has begun."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *words],
            cwd=self.folder,
            env={**environment(self.folder), "PYTHONPATH": str(ROOT), **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ran(self, *words: str, stop: signal.Signals | None = None, **variables: str) -> Ran:
        """A command to its end; with `stop` it is told to as soon as it has begun its run."""
        before, self.variables = self.variables, {**self.variables, **variables}
        with self.process(*words) as process:
            self.variables = before
            assert process.stdout is not None
            first = ""
            if stop is not None:
                first = process.stdout.readline()
                process.send_signal(stop)
            out, err = process.communicate(timeout=LONGEST)
        return Ran(code=process.returncode, stdout=first + out, stderr=err)


def world() -> World:
    """Two organizations, of which one has no test that is called as the other's; a token may only look."""
    made = example_world(2, 3)
    first, second = made.organizations
    (group,) = second.account_groups
    renamed = tuple(replace(test, name=f"Globex {test.test_id}") for test in group.tests)
    second = replace(second, account_groups=(replace(group, tests=renamed),))
    looks = replace(made.bearers[0], token="token-looks", permissions=("View tests",))
    return replace(made, organizations=(first, second), bearers=(*made.bearers, looks))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The folder, and the API."""
    simulator = Api(world(), period=0.3, latency=(0.0, 0.0))
    tests = [test for one in simulator.world.organizations for test in one.account_groups[0].tests]
    named = f'tests: ["{tests[0].test_id}"]'
    for name, (organizations, which, year) in {
        "jobs.yaml": (ONE, named, 2026),
        "later.yaml": (ONE, named, 2099),
        "select.yaml": (ONE, "select: {test_name: '*'}", 2026),
        "nothing.yaml": (ONE, "select: {test_name: nobody-calls-a-test-so}", 2026),
        "unknown-test.yaml": (ONE, 'tests: ["999999"]', 2026),
        "two.yaml": (TWO, "select: {test_name: '*'}", 2026),
        "two-select.yaml": (TWO, f"select: {{test_name: '{tests[0].name}'}}", 2026),
        "broken.yaml": (ONE, "test: []", 2026),
    }.items():
        text = JOBFILE.replace("ORGANIZATIONS", organizations).replace("WHICH", which)
        (tmp_path / name).write_text(text.replace("YEAR", str(year)), encoding="utf-8")
    quick = {"TESNAP_PER": "300ms", "TESNAP_GUARD": "10ms", "TESNAP_GRACE": "100ms"}
    with serve(simulator) as url:
        yield Place(folder=tmp_path, simulator=simulator, variables={"TE_BASE_URL": url, **quick})


SETTINGS = {
    "the API is out of reach": {"TE_BASE_URL": AWAY},
    "the token is refused": {"TE_TOKEN": "wrong"},
    "the permission is missing": {"TE_TOKEN": "token-looks"},
    "there is no token": {"TE_TOKEN": ""},
    "one of two organizations has too few tests": {"OTHER_TOKEN": "token-2"},
    "the store's address is invalid": {"TESNAP_STORE": "postgresql://u@h:badport/x"},
    "the store is out of reach": {"TESNAP_STORE": "postgresql://u@127.0.0.1:9/x"},
}
"""Situations that are variables."""

BEFORE = {
    "a run is finished": ["run jobs.yaml --run-id r1"],
    "a run failed": ["run unknown-test.yaml --run-id r1"],
    "a run has something pending": ["wrong", "run jobs.yaml --run-id r1"],
    "a run has something pending, and nobody can be asked": ["wrong", "run jobs.yaml --run-id r1"],
    "a run is cancelled": ["wrong", "run jobs.yaml --run-id r1", "cancel r1"],
    "a snapshot is uncertain": ["run jobs.yaml --run-id r1"],
    "the store is too new": ["run jobs.yaml"],
}
"""Situations that commands bring about; after `wrong` the token is."""

PLAIN = (
    "no store yet",
    "one of two organizations has no token",
    "no test is meant",
    "the deadline passes",
    "it is told to stop (SIGTERM, SIGINT, SIGHUP)",
    "the command line is wrong",
    "an answer is lost",
    "something else answers in the API's place",
    "the store cannot be written",
)
"""Situations that the job files make, or the API, or one file."""


def prepare_situation(situation: str, place: Place) -> None:
    """Bring about what the first column says."""
    assert (situation in SETTINGS) + (situation in BEFORE) + (situation in PLAIN) == 1, situation
    place.variables |= SETTINGS.get(situation, {})
    place.simulator.captive = situation == "something else answers in the API's place"
    if situation in ("an answer is lost", "a snapshot is uncertain"):
        place.simulator._faults = script_faults(["reset-after"])
        place.variables["TESNAP_TIMEOUT"] = "2s"  # the search for it begins after a request's longest time
    commands, wrong = BEFORE.get(situation, []), {}
    for command in commands:
        if command == "wrong":
            wrong = {"TE_TOKEN": "wrong"}
        else:
            assert place.ran(*command.split(), stop=None, **wrong).code in (0, 3, 4)
    if situation == "the store cannot be written":
        (place.folder / "store.db").mkdir()
    if situation == "the store is too new":
        with closing(sqlite3.connect(place.folder / "store.db")) as store:
            store.execute("UPDATE meta SET version = 9999, oldest = 9999")
            store.commit()


@pytest.mark.parametrize(("situation", "command", "code"), documented_rows())
def test_each_row_of_the_table(situation: str, command: str, code: int, place: Place) -> None:
    """As documented; at 2 nothing is on standard output, and no command but one that plans a run makes a store."""
    prepare_situation(situation, place)
    stops = STOPS.values() if "told to stop" in situation else (None,)
    for stop in stops:
        ended = place.ran(*command.split(), stop=stop)
        assert ended.code == code, ended.stderr
        if code == 2:
            assert ended.stdout == ""
        if code in (3, 4, 5) and command.startswith(("run", "resume")):
            assert ended.stderr.strip()
        assert "Traceback" not in ended.stderr
    if situation == "no store yet":
        assert not (place.folder / "store.db").exists()


def test_a_bug_is_code_1(tmp_path: Path) -> None:
    """And says how to report it."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "internal error" in done.stderr


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
        "metrics",
        "cancel",
        "settle",
        "report",
        "list",
    }
    assert {code for _, _, code in documented_rows()} == {0, 2, 3, 4, 5}
