"""Tests written with their names, when the names cannot be checked at the moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.api.credentials import Bearer
from orchestrator.core.errors import AccessRefused, ApiUnavailable
from orchestrator.core.jobs import JobFile, RetryRules, TestRef
from orchestrator.simulator import Simulator
from tests.support.http import jobfile_for, known_bearers, run_over_http, simulated
from tests.support.incident import Gateway

pytestmark = pytest.mark.socket


def named(simulator: Simulator, url: str) -> JobFile:
    """A job file whose tests are written with their names."""
    jobfile = jobfile_for(simulator, url)
    (job,) = jobfile.jobs
    names = {test.test_id: test.name for test in simulator.world.organizations[0].account_groups[0].tests}
    tests = tuple(TestRef(id=ref.id, test_name=names[ref.id]) for ref in job.tests)
    return replace(jobfile, jobs=(replace(job, tests=tests),), retry=RetryRules(within=1.0))


def test_a_refused_token_fails_no_test(tmp_path: Path) -> None:
    """It ends with 4 and nothing is stored; with a good token the same run id makes them all."""
    with simulated(tests=3) as (simulator, url):
        jobfile, store = named(simulator, url), tmp_path / "store.db"
        wrong = {name: Bearer("wrong-token") for name in jobfile.organizations}
        with pytest.raises(AccessRefused, match="3 snapshots of tests with a test_name are left out"):
            run_over_http(simulator, jobfile, store, run_id="again", bearers=wrong)
        ending, _ = run_over_http(simulator, jobfile, store, run_id="again")
    assert (ending.exit_code, ending.counts.created) == (0, 3)


def test_an_api_that_is_away_fails_no_test(tmp_path: Path) -> None:
    """It ends with 5, so that it is started again, and nothing is stored: no start may take that for all there is."""
    with simulated(tests=3) as (simulator, url):
        jobfile = named(simulator, url)
    with pytest.raises(ApiUnavailable, match="left out, since the names cannot be checked now"):
        run_over_http(simulator, jobfile, tmp_path / "store.db", run_id="again")
    with simulated(tests=3) as (simulator, url):
        ending, _ = run_over_http(simulator, named(simulator, url), tmp_path / "store.db", run_id="again")
    assert (ending.exit_code, ending.counts.created) == (0, 3)


def test_what_needs_no_name_is_made_all_the_same(tmp_path: Path) -> None:
    """Of two organizations one is refused: the other one's are made, and the exit code says that some are missing."""
    with simulated(tests=3, organizations=2) as (simulator, url):
        plain = jobfile_for(simulator, url)
        first, last = plain.jobs
        tests = tuple(replace(ref, test_name="whatever") for ref in last.tests)
        jobfile = replace(plain, jobs=(first, replace(last, tests=tests)))
        bearers = {**known_bearers(simulator), last.organizations[0]: Bearer("wrong-token")}
        ending, notebook = run_over_http(simulator, jobfile, tmp_path / "store.db", bearers=bearers)
    assert (ending.exit_code, ending.counts.created, ending.counts.total) == (4, 3, 3)
    assert any("3 snapshots of tests with a test_name are left out" in e.text for e in notebook.events)


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


@pytest.mark.parametrize("status", [503, 429])
def test_a_list_that_is_away_for_the_moment_fails_no_test(tmp_path: Path, status: int) -> None:
    """The account groups are there and the tests are not: who is asked first does not decide."""
    with simulated(tests=3) as (simulator, url):
        jobfile = named(simulator, url)
        simulator.__class__ = Gateway
        simulator.changes = {"/tests": {"status": status, "body": b""}}  # type: ignore[attr-defined] # of the class it has by now
        with pytest.raises(ApiUnavailable, match="3 snapshots of tests with a test_name are left out"):
            run_over_http(simulator, jobfile, tmp_path / "store.db")
        simulator.changes = {}  # type: ignore[attr-defined] # same
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created) == (0, 3)
