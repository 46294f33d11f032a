"""A deadline counts from the start of the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.errors import ApiUnavailable
from orchestrator.core.jobs import Select
from tests.support.http import jobfile_for, run_over_http, simulated

pytestmark = [pytest.mark.socket, pytest.mark.scaled]

LONGEST = 120.0
"""Seconds of an attempt that no test waits for, however busy the machine is."""


def test_finding_out_about_the_organizations_takes_its_part_of_the_deadline(tmp_path: Path) -> None:
    """With slow answers the time is over before anything is sent: it stops early and has its plan to carry on with."""
    with simulated(tests=3, latency=(0.3, 0.0)) as (simulator, url):
        jobfile = jobfile_for(simulator, url)
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db", deadline=0.2)
    assert (ending.exit_code, ending.counts.pending) == (5, 3)
    assert not [entry for entry in simulator.log if entry.method == "POST"]


def test_finding_out_ends_at_the_deadline(tmp_path: Path) -> None:
    """Whoever has not answered by then is out of reach: nobody waits for the timeouts."""
    with simulated(tests=3, latency=(2 * LONGEST, 0.0)) as (simulator, url):
        jobfile = jobfile_for(simulator, url, timeout=LONGEST)
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db", deadline=0.5)
        assert simulator.log == []  # half of a latency after a request it is entered
    assert (ending.exit_code, ending.counts.pending) == (5, 3)


@pytest.mark.parametrize("kind", ["selected", "named", "one of two"])
def test_a_plan_that_would_be_another_one_with_the_lists_is_not_frozen(tmp_path: Path, kind: str) -> None:
    """Whoever carries on with it would make too little, and never know: the same run id plans anew instead."""
    with simulated(tests=3, organizations=1 + (kind == "one of two"), latency=(0.3, 0.0)) as (simulator, url):
        plain = jobfile_for(simulator, url)
        *first, last = plain.jobs
        names = {
            test.test_id: test.name
            for one in simulator.world.organizations
            for test in one.account_groups[0].tests
        }
        job = (
            replace(last, tests=tuple(replace(ref, test_name=names[ref.id or ""]) for ref in last.tests))
            if kind == "named"
            else replace(last, tests=(), select=Select(enabled=True))
        )
        jobfile, store = replace(plain, jobs=(*first, job)), tmp_path / "store.db"
        for deadline in (0.15, 0.45):  # within the account groups, and within the tests
            with pytest.raises(
                ApiUnavailable, match=r"the deadline is reached before org-\d said which tests there are"
            ):
                run_over_http(simulator, jobfile, store, run_id="again", deadline=deadline)
        ending, _ = run_over_http(simulator, jobfile, store, run_id="again")
    assert (ending.exit_code, ending.counts.created) == (0, 3 * len(plain.jobs))
