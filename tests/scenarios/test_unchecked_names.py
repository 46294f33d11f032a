"""Tests written with their names, when the names cannot be checked at the moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.credentials import Bearer
from orchestrator.model import JobFile, RetryRules, TestRef
from orchestrator.simulator import Simulator
from tests.support.http import jobfile_for, run_over_http, simulated

pytestmark = pytest.mark.socket


def named(simulator: Simulator, url: str) -> JobFile:
    """A job file whose tests are written with their names."""
    jobfile = jobfile_for(simulator, url)
    (job,) = jobfile.jobs
    names = {test.test_id: test.name for test in simulator.world.organizations[0].account_groups[0].tests}
    tests = tuple(TestRef(id=ref.id, test_name=names[ref.id]) for ref in job.tests)
    return replace(jobfile, jobs=(replace(job, tests=tests),), retry=RetryRules(within=1.0))


def test_a_refused_token_fails_no_test(tmp_path: Path) -> None:
    """The run ends with 4, nothing is stored as failed, and the next run with a good token makes them all."""
    with simulated(tests=3) as (simulator, url):
        jobfile = named(simulator, url)
        (name,) = jobfile.organizations
        ending, notebook = run_over_http(
            simulator, jobfile, tmp_path / "store.db", bearers={name: Bearer("wrong-token")}
        )
        assert (ending.exit_code, ending.counts.failed, notebook.results) == (4, 0, [])
        assert any("3 snapshots of tests with a test_name are left out" in e.text for e in notebook.events)
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db")
        assert (ending.exit_code, ending.counts.created) == (0, 3)


def test_an_api_that_is_away_fails_no_test(tmp_path: Path) -> None:
    """The run ends with 5, so that it is started again, and nothing is stored as failed."""
    with simulated(tests=3) as (simulator, url):
        jobfile = named(simulator, url)
    ending, notebook = run_over_http(simulator, jobfile, tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.failed, notebook.results) == (5, 0, [])


def test_a_name_that_differs_fails_and_the_next_step_is_the_file(tmp_path: Path) -> None:
    """Only that test fails, nothing is sent for it, and the ending knows that it was refused when planned."""
    with simulated(tests=3) as (simulator, url):
        jobfile = named(simulator, url)
        (job,) = jobfile.jobs
        other = replace(job.tests[0], test_name="Something else")
        jobfile = replace(jobfile, jobs=(replace(job, tests=(other, *job.tests[1:])),))
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created, ending.counts.failed, ending.counts.refused) == (
        3,
        2,
        1,
        1,
    )
    assert [e.test for e in simulator.log if e.method == "POST" and e.test == other.id] == []
