"""A deadline counts from the start of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from tests.support.http import TIMEOUT, jobfile_for, run_over_http, simulated

pytestmark = [pytest.mark.socket, pytest.mark.scaled]


def test_finding_out_about_the_organizations_takes_its_part_of_the_deadline(tmp_path: Path) -> None:
    """With slow answers the time is over before anything is sent: it stops early and has its plan to carry on with."""
    with simulated(tests=3, latency=(0.3, 0.0)) as (simulator, url):
        jobfile = jobfile_for(simulator, url)
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db", deadline=0.2)
    assert (ending.exit_code, ending.counts.pending) == (5, 3)
    assert not [entry for entry in simulator.log if entry.method == "POST"]


def test_finding_out_ends_at_the_deadline(tmp_path: Path) -> None:
    """Whoever has not answered by then is out of reach: nobody waits for the timeouts."""
    clock = SystemClock()
    with simulated(tests=3, latency=(TIMEOUT - 0.1, 0.0)) as (simulator, url):
        jobfile, begun = jobfile_for(simulator, url), clock.boot()
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db", deadline=0.5)
        assert clock.boot() - begun < TIMEOUT - 0.2
    assert (ending.exit_code, ending.counts.pending) == (5, 3)
    assert not [entry for entry in simulator.log if entry.method == "POST"]
