"""Who an organization is: two names for one, and one whose id is learnt while it is being served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.api.credentials import Bearer
from orchestrator.core.jobs import identity
from tests.support.http import jobfile_for, run_over_http, simulated
from tests.support.server_log import refusals
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]


@pytest.mark.socket
@pytest.mark.scaled
def test_two_names_for_one_organization_share_its_slots(tmp_path: Path) -> None:
    """Two entries with tokens of their own, one orgId: one bucket, no refusal, each task by a credential of its name."""
    with simulated(tests=8, tokens=2) as (simulator, url):
        plain = jobfile_for(simulator, url)
        (name,) = plain.organizations
        (job,) = plain.jobs
        named = {n: replace(plain.organizations[name], name=n) for n in ("east", "west")}
        jobs = (
            replace(job, name="e", organizations=("east",), tests=job.tests[:4]),
            replace(job, name="w", organizations=("west",), tests=job.tests[4:]),
        )
        jobfile = replace(plain, organizations=named, jobs=jobs)
        bearers = {"east": Bearer("token-1"), "west": Bearer("token-1-2")}
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db", bearers=bearers)
    assert (ending.exit_code, ending.counts.created) == (0, 8)
    assert refusals(simulator.log) == []
    posts = [entry for entry in simulator.log if entry.method == "POST"]
    east = {ref.id for ref in jobfile.jobs[0].tests}
    assert len({entry.bearer for entry in posts if entry.test in east}) == 1
    assert len({entry.bearer for entry in posts}) == 2


def test_an_id_that_another_process_learns_changes_nothing_for_a_run_at_work(stage: StageMaker) -> None:
    """The bucket known by name becomes the one known by id under a run that is using it."""
    at = stage(switches={"shows_org_id": False})
    jobfile = at.jobfile(12)
    worker, notebook = at.worker(jobfile)
    (name,) = jobfile.organizations
    base_url = jobfile.organizations[name].base_url
    other = at.open()

    def learn() -> None:
        learnt = other.organizations.join(base_url, name, "1001")
        assert learnt == identity(base_url, org_id="1001")
        at.tokens[learnt] = "token-1"

    at.timeline.at(at.clock.boot() + 150.0, learn)
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 12)
    assert len(notebook.results) == 12
    assert refusals(at.simulator.log) == []
    assert len([entry for entry in at.simulator.log if entry.counted]) == 12


def test_an_organization_that_was_unknown_is_found_once_it_turns_out_to_be_one_s_own(
    stage: StageMaker,
) -> None:
    """Its id was seen before anybody knew that it is the one served under a name."""
    at = stage(switches={"shows_org_id": False})
    jobfile = at.jobfile(12)
    worker, _ = at.worker(jobfile)
    (name,) = jobfile.organizations
    base_url = jobfile.organizations[name].base_url
    learnt, other = identity(base_url, org_id="1001"), at.open()
    assert worker._organizations.find(learnt) is None

    def learn() -> None:
        at.tokens[other.organizations.join(base_url, name, "1001")] = "token-1"

    at.timeline.at(at.clock.boot() + 150.0, learn)
    drive(at.timeline, [worker])
    assert worker._organizations.find(learnt) is not None
