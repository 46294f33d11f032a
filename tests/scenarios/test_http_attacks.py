"""Attacks that need a real connection: what a second start looks for, and what a stop leaves behind."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.api.client import Client
from orchestrator.api.credentials import Bearer
from orchestrator.core.clock import SystemClock
from orchestrator.core.jobs import Http, OnUncertain, TestRef
from orchestrator.simulator import Simulator, example_world, script_faults, serve
from tests.support.http import PERIOD, PROMPT, TIMEOUT, jobfile_for, run_over_http, simulated
from tests.support.server_log import find_duplicates
from tests.support.wire import Peer, Server

pytestmark = [pytest.mark.socket, pytest.mark.scaled]

LONGEST = 120.0
"""Seconds after which something that should have happened is given up."""


def lists_read(simulator: Simulator) -> int:
    """How often the tests were listed."""
    return sum(entry.method == "GET" and entry.path.endswith("/tests") for entry in simulator.log)


def test_a_run_that_is_carried_on_looks_once_more_for_what_is_uncertain(tmp_path: Path) -> None:
    """Not finding it proved nothing: the next start of the same run asks again, and sends nothing."""
    with simulated(tests=3, faults=script_faults([None, "reset-after"])) as (simulator, url):
        jobfile = jobfile_for(simulator, url, timeout=TIMEOUT)
        first, _ = run_over_http(simulator, jobfile, tmp_path / "store.db", run_id="again")
        posts, before = sum(e.method == "POST" for e in simulator.log), lists_read(simulator)
        second, notebook = run_over_http(simulator, jobfile, tmp_path / "store.db", run_id="again")
        assert lists_read(simulator) - before == 2  # one for the survey, one as evidence
        assert sum(e.method == "POST" for e in simulator.log) == posts
    assert (first.exit_code, second.exit_code) == (3, 3)
    assert len(notebook.results) == 3


def test_a_resend_over_http_is_made_before_the_run_ends(tmp_path: Path) -> None:
    """Its look for evidence wakes the worker between two looks at the store."""
    with simulated(tests=3, faults=script_faults([None, "reset-after"])) as (simulator, url):
        jobfile = jobfile_for(simulator, url, timeout=TIMEOUT, on_uncertain=OnUncertain.RESEND)
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created) == (0, 3)


def test_each_name_of_an_organization_looks_in_its_own_account_group(tmp_path: Path) -> None:
    """Two tokens of one organization, each with a default account group of its own: what one lists, the other does not."""
    clock = SystemClock()
    world = example_world(1, 4, account_groups=2, tokens=2, now=clock.wall())
    (organization,) = world.organizations
    tokens = {
        name: replace(bearer, aids=(group.aid,))
        for name, bearer, group in zip(
            ("east", "west"), world.bearers, organization.account_groups, strict=True
        )
    }
    lost = script_faults([None, *["reset-after"] * 3])
    simulator = Simulator(
        replace(world, bearers=tuple(tokens.values())), period=PERIOD, latency=PROMPT, faults=lost
    )
    with serve(simulator, clock=clock, hang=TIMEOUT + 1) as url:
        plain = jobfile_for(simulator, url, timeout=TIMEOUT, is_public=True, on_uncertain=OnUncertain.RESEND)
        ((_, known),) = plain.organizations.items()
        jobs = [
            replace(
                plain.jobs[0],
                name=name,
                organizations=(name,),
                tests=tuple(TestRef(id=t.test_id) for t in group.tests[:2]),
            )
            for name, group in zip(tokens, organization.account_groups, strict=True)
        ]
        jobfile = replace(
            plain, organizations={name: replace(known, name=name) for name in tokens}, jobs=tuple(jobs)
        )
        bearers = {name: Bearer(bearer.token) for name, bearer in tokens.items()}
        ending, notebook = run_over_http(simulator, jobfile, tmp_path / "store.db", bearers=bearers)
    assert (ending.exit_code, ending.counts.created, find_duplicates(simulator.log)) == (0, 4, {})
    assert [result.found for result in notebook.results].count("saved_event") == 3


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
            http=Http(timeout=2 * LONGEST),
            user_agent="t",
            environ={},
        )

        def close_when_asked() -> None:
            asked.wait(LONGEST)
            client.close()

        threading.Thread(target=close_when_asked, daemon=True).start()
        cut, unsent = client.get("/tests"), client.get("/tests")
    assert (cut.status, cut.sent, unsent.status, unsent.sent) == (None, True, None, False)
    assert "aborted by this program" in (cut.failure or "")  # and not at the end of its time
