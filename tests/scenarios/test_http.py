"""Whole runs over HTTP in scaled time: a period of 3 s; what counts is the simulator's own log."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.core.tasks import Status
from orchestrator.simulator import parse_faults
from tests.support.http import PERIOD, TIMEOUT, jobfile_for, run_over_http, simulated
from tests.support.server_log import most_in_any_window, refusals

pytestmark = [pytest.mark.socket, pytest.mark.scaled]


@pytest.mark.parametrize("policy", ["sliding", "fixed", "token_bucket"])
def test_thirty_snapshots_without_a_refusal(tmp_path: Path, policy: str) -> None:
    """0 × 429, at most 5 in any window, 30 records, 30 links; how long it takes is measured by the benchmarks."""
    with simulated(policy=policy) as (simulator, url):
        ending, notebook = run_over_http(simulator, jobfile_for(simulator, url), tmp_path / "store.db")
    log = simulator.log
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 30, 30)
    assert len({result.snapshot.link for result in notebook.results if result.snapshot}) == 30
    assert refusals(log) == []
    assert most_in_any_window(log, simulator.world.organizations[0].org_id, PERIOD) <= 5


def test_latencies_all_over_the_place_bring_no_refusal(tmp_path: Path) -> None:
    """At 200 ± 150 ms a bucket that counts from the sending would be over the limit."""
    with simulated(latency=(0.200, 0.150)) as (simulator, url):
        ending, _ = run_over_http(simulator, jobfile_for(simulator, url), tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created) == (0, 30)
    assert refusals(simulator.log) == []


def test_a_bad_day_over_http_loses_nothing(tmp_path: Path) -> None:
    """Server errors, resets before and after processing, cut answers and a hang: every task ends."""
    faults = parse_faults(
        "500=0.02,502=0.015,503=0.015,reset-before=0.03,reset-after=0.03,cut-head=0.02,cut-body=0.02,hang=0.02"
    )
    with simulated(tests=20, organizations=3, faults=faults, seed=5) as (simulator, url):
        ending, notebook = run_over_http(
            simulator, jobfile_for(simulator, url, timeout=TIMEOUT), tmp_path / "store.db"
        )
    assert len(notebook.results) == 60
    assert ending.counts.pending == 0
    made = {entry.test for entry in simulator.log if entry.counted}
    for result in notebook.results:
        unknown = result.status is Status.UNCERTAIN or result.duplicate_possible
        assert (result.status is Status.CREATED) <= (result.task.test_id in made)
        assert (result.task.test_id in made) <= (result.status is Status.CREATED or unknown)
    assert {entry.fault for entry in simulator.log} - {None}
