"""A PostgreSQL server that goes away under a run, and comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from orchestrator.core.events import Ending
from orchestrator.simulator import LoggedRequest, Simulator
from tests.support.http import PERIOD, jobfile_for, run_over_http, simulated
from tests.support.postgres import Server, new_database, own_server
from tests.support.server_log import find_duplicates, most_in_any_window, refusals
from tests.support.virtual import Notebook

pytestmark = [pytest.mark.postgres, pytest.mark.socket, pytest.mark.scaled]

TESTS = 8
LONGEST = 600.0
"""Seconds after which a run that does not end by itself is stopped."""


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server that nobody else uses, since it is stopped."""
    with own_server() as server:
        yield server


@contextmanager
def happening(act: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Something that goes on beside a run; the event is what it waits for, and is set at the end."""
    begin = threading.Event()
    beside = threading.Thread(target=act, args=(begin,))
    beside.start()
    try:
        yield begin
    finally:
        begin.set()
        beside.join()


def judge(simulator: Simulator, ending: Ending, notebook: Notebook) -> None:
    """Everything made once and recorded once, without a refusal, within the limit; the trouble was told and is over."""
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, TESTS, TESTS)
    assert sum(entry.counted for entry in simulator.log) == TESTS
    assert find_duplicates(simulator.log) == {}
    assert refusals(simulator.log) == []
    assert most_in_any_window(simulator.log, simulator.world.organizations[0].org_id, PERIOD) <= 5
    told = [event.name for event in notebook.events if event.name.startswith("store.")]
    assert told[:2] == ["store.unavailable", "store.back"]
    assert told.count("store.unavailable") == told.count("store.back")


def test_a_server_that_is_started_anew_under_a_run_costs_time_and_nothing_else(own: Server) -> None:
    """It is stopped while requests are on the wire, and back two seconds later: all is made once."""
    url = new_database(own.url, "restarted")

    def restart(begin: threading.Event) -> None:
        begin.wait()
        own.stop()
        threading.Event().wait(2.0)
        own.start()

    def on_entry(entry: LoggedRequest) -> None:
        if entry.counted and sum(one.counted for one in simulator.log) >= 2:
            begin.set()

    with (
        happening(restart) as begin,
        simulated(tests=TESTS, latency=(0.3, 0.2), on_entry=on_entry) as (simulator, base_url),
    ):
        ending, notebook = run_over_http(simulator, jobfile_for(simulator, base_url), url, deadline=LONGEST)
    judge(simulator, ending, notebook)


def test_a_session_that_is_killed_again_and_again_costs_time_and_nothing_else(own: Server) -> None:
    """At every third of a second for a while, wherever in a transaction that is: all is made once."""
    url = new_database(own.url, "killed")

    def kill(begin: threading.Event) -> None:
        begin.wait()
        with psycopg.connect(url, autocommit=True, application_name="nemesis") as side:
            for _ in range(6):
                side.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tesnap'"
                )
                threading.Event().wait(0.33)

    with (
        happening(kill) as begin,
        simulated(
            tests=TESTS, latency=(0.3, 0.2), on_entry=lambda entry: begin.set() if entry.counted else None
        ) as (simulator, base_url),
    ):
        ending, notebook = run_over_http(simulator, jobfile_for(simulator, base_url), url, deadline=LONGEST)
    judge(simulator, ending, notebook)


def test_a_session_that_is_killed_at_each_answer_forgets_none_of_them(own: Server) -> None:
    """While the answer is on its way the session goes: what it says is stored when there is one again."""
    url = new_database(own.url, "forgetful")
    with psycopg.connect(f"{own.url}/postgres", autocommit=True, application_name="nemesis") as side:

        def on_entry(entry: LoggedRequest) -> None:
            if entry.counted:
                side.execute(
                    "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE application_name = 'tesnap'"
                )

        with simulated(tests=TESTS, on_entry=on_entry) as (simulator, base_url):
            ending, notebook = run_over_http(
                simulator, jobfile_for(simulator, base_url), url, deadline=LONGEST
            )
    judge(simulator, ending, notebook)
