"""One organization under two names, while nobody can read who it is: real processes, a real server, both stores."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from orchestrator.core.clock import SystemClock
from orchestrator.core.jobs import identity
from orchestrator.simulator import Exchange, Request, Simulator, example_world, serve
from orchestrator.simulator.faults import Fault
from orchestrator.store.store import open_store
from tests.support.commands import LONGEST
from tests.support.postgres import new_database
from tests.support.server_log import creations, find_duplicates, most_in_any_window

PERIOD = 4.0
# However busy the machine is, no answer is late and no grant grows stale.
SETTINGS = ("--per", f"{PERIOD:g}s", "--guard", "10ms", "--grace", "60s", "--timeout", "60s")
TESTS = 8
ORGANIZATION = "1001"
TOKEN = "token-1"


class Closed(Simulator):
    """A server whose `GET /account-groups` answers 503 while it is `closed`. It counts, and refuses nothing."""

    closed = True

    def accept(self, request: Request, at: float) -> Exchange:
        exchange = super().accept(request, at)
        if self.closed and request.path.endswith("/account-groups"):
            return replace(exchange, fault=Fault.parse("503"))
        return exchange


@contextmanager
def server(*, tokens: int = 1) -> Iterator[tuple[Closed, str]]:
    """One organization with two groups of tests; its limit is ours to keep."""
    world = example_world(1, 2 * TESTS, tokens=tokens)
    simulator = Closed(world, limit=1000, period=PERIOD, latency=(0.02, 0.01))
    with serve(simulator, clock=SystemClock()) as url:
        yield simulator, url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store in real time."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return new_database(request.getfixturevalue("server_url"), "shared")


def write(file: Path, url: str, *names: str, org_id: str = "") -> Path:
    """A job file in which each name has a group of the tests, by the token in the variable of its name."""
    ids = [test.test_id for test in example_world(1, 2 * TESTS).organizations[0].account_groups[0].tests]
    mine = {"east": ids[:TESTS], "west": ids[TESTS:]}
    named = f", org_id: '{org_id}'" if org_id else ""
    organizations = [f'  {name}: {{token_env: {name.upper()}, base_url: "{url}"{named}}}' for name in names]
    jobs = [
        f"  - {{name: of-{name}, organization: {name}, tests: [{', '.join(mine[name])}],"
        " windows: [{start: '2026-11-01T10:00:00Z', end: '2026-11-01T11:00:00Z'}]}"
        for name in names
    ]
    file.write_text("\n".join(["version: 1", "organizations:", *organizations, "jobs:", *jobs, ""]))
    return file


def start(files: Sequence[Path], store: str, **tokens: str) -> list[subprocess.Popen[str]]:
    """A process of its own for each job file."""
    return [
        subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "run", str(file), "--store", store, *SETTINGS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **tokens},
        )
        for file in files
    ]


def end(processes: Sequence[subprocess.Popen[str]]) -> str:
    """Wait for all of them, which succeed; what they said."""
    try:
        said = [process.communicate(timeout=LONGEST) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return "\n".join(text for both in said for text in both)


def await_(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def text_of(store: str, folder: Path) -> str:
    """Everything that a store has written, as text."""
    if store.startswith("sqlite"):
        return b"".join(file.read_bytes() for file in folder.glob("store.db*") if file.is_file()).decode(
            "latin-1"
        )
    with psycopg.connect(store) as session:
        return str(session.execute("SELECT * FROM tesnap.sign").fetchall())


@pytest.mark.process
@pytest.mark.scaled
@pytest.mark.parametrize("files", [1, 2], ids=["one file", "two files"])
def test_two_names_with_one_token_are_one_bucket_while_the_id_cannot_be_read(
    store: str, tmp_path: Path, files: int
) -> None:
    """Five in any period, and once the list is there again both are known to be one, in the middle of the run."""
    with server() as (simulator, url):
        names = [("east", "west")] if files == 1 else [("east",), ("west",)]
        written = [write(tmp_path / f"{at}.yaml", url, *some) for at, some in enumerate(names)]
        running = start(written, store, EAST=TOKEN, WEST=TOKEN)
        await_(lambda: len(creations(simulator.log)) >= 5)
        simulator.closed = False
        said = end(running)
    log = simulator.log
    assert len(creations(log)) == 2 * TESTS
    assert most_in_any_window(log, ORGANIZATION, PERIOD) <= 5
    assert find_duplicates(log) == {}
    assert "it is not known which organization this is" in said
    assert f"is organization {ORGANIZATION}" in said
    opened = open_store(store, clock=SystemClock(), read_only=True)
    assert set(opened.organizations.names()) == {identity(url, org_id=ORGANIZATION)}
    opened.close()
    assert TOKEN not in text_of(store, tmp_path)


@pytest.mark.process
@pytest.mark.scaled
def test_two_tokens_with_one_org_id_in_the_files_are_one_bucket(store: str, tmp_path: Path) -> None:
    """Tokens that differ say nothing; the id that both files name does, and nothing is warned about."""
    with server(tokens=2) as (simulator, url):
        written = [
            write(tmp_path / f"{name}.yaml", url, name, org_id=ORGANIZATION) for name in ("east", "west")
        ]
        said = end(start(written, store, EAST="token-1", WEST="token-1-2"))
    assert len(creations(simulator.log)) == 2 * TESTS
    assert most_in_any_window(simulator.log, ORGANIZATION, PERIOD) <= 5
    assert "it is not known" not in said
