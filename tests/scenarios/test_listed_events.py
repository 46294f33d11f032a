"""Lost answers on servers whose lists are not as ours: saved events dated as their tests, lists that cannot be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.clock import SystemClock
from orchestrator.core.events import Ending
from orchestrator.core.jobs import JobFile, Limit, WindowSpec
from orchestrator.core.tasks import Result, Status
from orchestrator.output import sentences
from orchestrator.simulator import Reply, TenantTest, example_world, script_faults, serve
from orchestrator.store.store import open_store
from tests.support.commands import LONGEST, ran
from tests.support.http import PERIOD, PROMPT, TIMEOUT, jobfile_for, run_over_http
from tests.support.lists import COPIED, ChangingLists, answer_later_lists, date_saved_events
from tests.support.virtual import Notebook

pytestmark = [pytest.mark.socket, pytest.mark.scaled]

LIMIT = Limit(per=PERIOD, guard=0.010, grace=0.5)
SAVED = {
    "is_public": True,
    "windows": (WindowSpec(start="2026-11-20T14:00:00Z", end="2026-11-20T15:00:00Z"),),
}
"""In a simulated world this makes saved events, of the same window whenever it runs."""


@contextmanager
def serving(
    change: Callable[[Reply, int], Reply], faults: list[str | None]
) -> Iterator[tuple[ChangingLists, str]]:
    """A server with two tests, whose POSTs meet these faults."""
    clock = SystemClock()
    made = example_world(1, 2, now=clock.wall())
    simulator = ChangingLists(made, change, faults=script_faults(faults), period=PERIOD, latency=PROMPT)
    with serve(simulator, clock=clock, hang=10.0) as url:
        yield simulator, url


def run(simulator: ChangingLists, url: str, store: Path, **job: Any) -> tuple[Ending, Notebook]:
    """Run both tests with short attempts."""
    return run_over_http(simulator, jobfile_of(simulator, url, **job), store)


def jobfile_of(simulator: ChangingLists, url: str, **job: Any) -> JobFile:
    """A job file of both tests, with short attempts."""
    return jobfile_for(simulator, url, limit=LIMIT, timeout=TIMEOUT, **SAVED | job)


def posts(simulator: ChangingLists) -> int:
    """How many snapshots were asked for."""
    return sum(entry.method == "POST" for entry in simulator.log)


def texts(notebook: Notebook, name: str) -> list[str]:
    """What was said under one name."""
    return [event.text for event in notebook.events if event.name == name]


# -- how a saved event is dated -----------------------------------------------------------------------------


@pytest.mark.parametrize("date", [COPIED, None], ids=["as the test", "not at all"])
def test_a_saved_event_is_found_however_it_is_dated(tmp_path: Path, date: str | None) -> None:
    """It has the task's key in its name, and was not in the list that the plan was made with."""
    with serving(date_saved_events(date), [None, "reset-after"]) as (simulator, url):
        ending, notebook = run(simulator, url, tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created, posts(simulator)) == (0, 2, 2)
    assert [result.found for result in notebook.results if result.found] == ["saved_event"]


def test_one_that_was_there_before_is_no_proof_and_is_offered(tmp_path: Path) -> None:
    """The very same snapshot of another store, made before: said with its id and date, and `settle` offers it."""
    store = tmp_path / "store.db"
    with serving(date_saved_events(COPIED), [None, "reset-before"]) as (simulator, url):
        run(simulator, url, tmp_path / "other.db")
        lost = next(result for result in _results(tmp_path / "other.db") if result.status is Status.UNCERTAIN)
        _add_saved_event(simulator, lost.task.title(), "777")
        simulator._faults = script_faults([None] * posts(simulator) + [None, "reset-before"])
        ending, notebook = run(simulator, url, store)
    assert (ending.exit_code, ending.counts.uncertain) == (3, 1)
    (said,) = texts(notebook, "evidence.missing")
    key = lost.task.short_key
    assert "(777, dated 2024-03-01T09:00:00Z) was there before" in said
    assert re.search(rf"tesnap settle \w+ {key} created 777", said)
    shown = ran("settle", "last", "--store", f"sqlite:///{store}", "--timezone", "UTC").stdout
    assert re.search(
        r"there is one: ID 777, dated .*2024.* UTC, which was there already at .* UTC, before", shown
    )
    (result,) = (one for one in notebook.results if one.status is Status.UNCERTAIN)
    assert "which may be it: 777" in sentences.snapshot_row(result, UTC).about
    assert result.possible_event is not None


def test_without_the_key_in_its_name_the_date_alone_counts(tmp_path: Path) -> None:
    """Anybody may have called a saved event so: it is said that there is one, not that there is none."""
    with serving(date_saved_events(COPIED), [None, "reset-after"]) as (simulator, url):
        ending, notebook = run(simulator, url, tmp_path / "store.db", display_name="{test}")
    assert (ending.exit_code, ending.counts.uncertain) == (3, 1)
    (said,) = texts(notebook, "evidence.missing")
    assert re.search(
        r"the saved event with its name .* may have been there before; if it is this snapshot", said
    )


def test_two_of_one_key_are_said_to_be_two(tmp_path: Path) -> None:
    """The gateway answered 502 although the snapshot was made; the next answer is lost."""
    with serving(date_saved_events(None), [None, "502-after", "reset-after"]) as (simulator, url):
        ending, notebook = run(simulator, url, tmp_path / "store.db")
    assert ending.counts.created == 2
    (found,) = (result for result in notebook.results if result.found)
    assert found.duplicate_possible
    assert "more than once" in texts(notebook, "evidence.found")[0]


def _results(store: Path) -> list[Result]:
    with closing(open_store(str(store), clock=SystemClock())) as opened:
        return list(opened.views.results(opened.views.find_run("last").id))


def _add_saved_event(simulator: ChangingLists, name: str, key: str) -> None:
    """Somebody made a saved event of this name."""
    (organization,) = simulator.world.organizations
    event = TenantTest(test_id=key, name=name, saved_event=True)
    simulator._origin._saved[organization.org_id, organization.account_groups[0].aid].append(event)


# -- lists that cannot be read -------------------------------------------------------------------------------


PAGE: dict[str, Any] = {
    "headers": {"Content-Type": "text/html"},
    "body": b"<html><title>Sign in</title></html>",
}
UNREADABLE: dict[str, dict[str, Any]] = {
    "501": {"status": 501},
    "405": {"status": 405},
    "503": {"status": 503},
    "page": {"status": 200, **PAGE},
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_run_whose_work_is_done_waits_for_the_lists_for_a_while_only(tmp_path: Path, kind: str) -> None:
    """It ends, says what it could not do, and the next start looks again."""
    store = tmp_path / "store.db"
    changes = {"body": b"", **UNREADABLE[kind]}
    with serving(answer_later_lists(**changes), ["reset-after", "reset-after"]) as (simulator, url):
        ending, _ = run(simulator, url, store)
        assert (ending.exit_code, ending.counts.uncertain, ending.unread) == (3, 2, 2)
        assert simulator.lists > 1
        if kind in ("501", "405"):
            assert simulator.lists <= 3  # one look for each of the two: another one would be answered alike
        simulator._change = date_saved_events(None)
        again, _ = run_over_http(simulator, jobfile_of(simulator, url), store, run_id=ending.run.id)
    assert (again.exit_code, again.counts.created, posts(simulator)) == (0, 2, 2)
    assert "the next start looks again" in sentences.last_line(ending)


JOBS = """
version: 1
organizations: {acme: {token_env: TE_TOKEN, base_url: "URL", limit: {per: 3s, guard: 0s, grace: 500ms}}}
http: {timeout: 5s}
jobs:
  - name: both
    tests: ["202701", "202702"]
    is_public: true
    windows: [{start: 2026-11-20T14:00:00Z, duration: 1h}]
"""


@pytest.mark.process
@pytest.mark.parametrize("kind", ["503", "page"])
def test_a_process_of_its_own_does_not_linger(tmp_path: Path, kind: str) -> None:
    """It says until when it looks, and in its last line what it could not do; resumed, it finds both."""
    with serving(answer_later_lists(**{"body": b"", **UNREADABLE[kind]}), ["reset-after"] * 2) as (
        simulator,
        url,
    ):
        (tmp_path / "jobs.yaml").write_text(JOBS.replace("URL", url))
        first = _command(tmp_path, "run", "jobs.yaml")
        simulator._change = date_saved_events(COPIED)
        second = _command(tmp_path, "resume")
    assert first.returncode == 3, first.stderr
    assert "looking for evidence of snapshots whose answer was lost" in first.stderr
    assert re.search(r"given up at \d\d:\d\d UTC, until the next start", first.stderr)
    last = first.stderr.splitlines()[-1]
    assert (
        "2 UNCERTAIN (2 not looked for: the list of tests cannot be read; the next start looks again)" in last
    )
    assert (second.returncode, posts(simulator)) == (0, 2), second.stderr


def _command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One command as a process of its own."""
    settings = {"TE_TOKEN": "token-1", "TESNAP_STORE": f"sqlite:///{folder}/store.db", "TZ": "UTC"}
    paths = {"HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.defpath}
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *words],
        cwd=folder,
        env={**settings, **paths, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
