"""Attacks that need a real connection: what a second start looks for, and what a stop leaves behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from orchestrator.client import Client
from orchestrator.clock import SystemClock
from orchestrator.model import Http, OnUncertain
from orchestrator.simulator import Simulator, scripted
from tests.support.http import jobfile_for, run_over_http, simulated
from tests.support.wire import Peer, Server

pytestmark = [pytest.mark.socket, pytest.mark.scaled]


def lists_read(simulator: Simulator) -> int:
    """How often the tests were listed."""
    return sum(entry.method == "GET" and entry.path.endswith("/tests") for entry in simulator.log)


def test_a_run_that_is_carried_on_looks_once_more_for_what_is_uncertain(tmp_path: Path) -> None:
    """Not finding it proved nothing: the next start of the same run asks again, and sends nothing."""
    with simulated(tests=3, faults=scripted([None, "reset-after"])) as (simulator, url):
        jobfile = jobfile_for(simulator, url)
        first, _ = run_over_http(simulator, jobfile, tmp_path / "store.db", run_id="again")
        posts, before = sum(e.method == "POST" for e in simulator.log), lists_read(simulator)
        second, notebook = run_over_http(simulator, jobfile, tmp_path / "store.db", run_id="again")
        assert lists_read(simulator) - before == 2  # one for the survey, one as evidence
        assert sum(e.method == "POST" for e in simulator.log) == posts
    assert (first.exit_code, second.exit_code) == (3, 3)
    assert len(notebook.results) == 3


def test_a_resend_over_http_is_made_before_the_run_ends(tmp_path: Path) -> None:
    """Its look for evidence wakes the worker between two looks at the store."""
    with simulated(tests=3, faults=scripted([None, "reset-after"])) as (simulator, url):
        jobfile = jobfile_for(simulator, url, on_uncertain=OnUncertain.RESEND)
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created) == (0, 3)


def test_a_closed_client_lets_go_at_once_and_sends_nothing_more() -> None:
    """A signal while lists are read: what hangs is cut, and what would be asked next is not sent."""
    asked = threading.Event()

    def hang(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.hang()

    with Server(hang) as server:
        client = Client(
            server.url,
            lambda: "token-1",
            clock=SystemClock(),
            http=Http(timeout=8.0),
            user_agent="t",
            environ={},
        )

        def close_when_asked() -> None:
            asked.wait(2)
            client.close()

        threading.Thread(target=close_when_asked, daemon=True).start()
        started = time.monotonic()
        assert client.get("/tests").status is None
        assert client.get("/tests").sent is False
        assert time.monotonic() - started < 3
