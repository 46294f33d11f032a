"""A database's clock that is set while no process lives that would see it."""

from __future__ import annotations

import psycopg
import pytest

from orchestrator.core.jobs import WindowSpec
from tests.support.http import PERIOD, jobfile_for, run_over_http, simulated
from tests.support.postgres import new_database
from tests.support.server_log import most_in_any_window, refusals

pytestmark = [pytest.mark.postgres, pytest.mark.socket, pytest.mark.scaled]

SET = """CREATE OR REPLACE FUNCTION tesnap.tesnap_now() RETURNS DOUBLE PRECISION LANGUAGE sql VOLATILE
AS 'SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION) + {seconds}'"""
"""What `date -s` would do to the server's machine."""

ELSEWHERE = "UPDATE tesnap.machine_clock SET boot_id = 'of another machine'"


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same machine", "another machine"])
def test_an_hour_between_two_runs_returns_no_slot_too_early(server_url: str, *, elsewhere: bool) -> None:
    """The second run is asked for at once: it holds all slots, says so, and the limit is kept."""
    url = new_database(server_url, "unseen")
    with simulated(tests=5) as (simulator, base_url):
        first, _ = run_over_http(simulator, jobfile_for(simulator, base_url), url)
        with psycopg.connect(url, autocommit=True) as side:
            side.execute(SET.format(seconds=3600).encode())
            if elsewhere:
                side.execute(ELSEWHERE)
        again = jobfile_for(simulator, base_url, windows=(WindowSpec(last=7200.0),))
        second, notebook = run_over_http(simulator, again, url)
        third, later = run_over_http(
            simulator, jobfile_for(simulator, base_url, windows=(WindowSpec(last=14400.0),)), url
        )
    assert (first.counts.created, second.counts.created, third.counts.created) == (5, 5, 5)
    assert refusals(simulator.log) == []
    assert most_in_any_window(simulator.log, simulator.world.organizations[0].org_id, PERIOD) <= 5
    assert [event.name for event in notebook.events].count("clock.stepped") == 1
    assert "clock.stepped" not in [event.name for event in later.events]
