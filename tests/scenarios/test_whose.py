"""Whose snapshots these are: each report, list and record has what the user who planned it calls an organization."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.api.credentials import Bearer
from orchestrator.core.jobs import Job, JobFile, Priority
from tests.support.commands import ran
from tests.support.http import jobfile_for, known_bearers, run_over_http, simulated

pytestmark = [pytest.mark.socket, pytest.mark.scaled]

FILES = ("/customers/secret-customer.yaml",)


def split(plain: JobFile, **organizations: str) -> JobFile:
    """The file with one job for each of these names; the values are the organization that the file had."""
    jobs: list[Job] = []
    for name, like in organizations.items():
        (job,) = (one for one in plain.jobs if one.name == like)
        tests = job.tests[: len(job.tests) // 2] if not jobs else job.tests[len(job.tests) // 2 :]
        jobs.append(replace(job, name=f"job of {name}", organizations=(name,), tests=tests))
    named = {name: replace(plain.organizations[like], name=name) for name, like in organizations.items()}
    return replace(plain, organizations=named, jobs=tuple(jobs), files=FILES)


def ids_of(jobfile: JobFile, number: int) -> set[str]:
    return {ref.id for ref in jobfile.jobs[number].tests}


def seen(text: str, tests: set[str]) -> set[str]:
    """Which of these tests a text names."""
    return {test for test in tests if test in text}


def test_two_names_for_one_organization_are_two_customers_of_a_report(tmp_path: Path) -> None:
    """They share its slots and nothing else: each view has its own tests, in every form."""
    store = f"sqlite:///{tmp_path / 'store.db'}"
    with simulated(tests=4) as (simulator, url):
        plain = jobfile_for(simulator, url)
        (name,) = plain.organizations
        jobfile = split(plain, east=name, west=name)
        bearers = dict.fromkeys(("east", "west"), Bearer("token-1"))
        ending, notebook = run_over_http(simulator, jobfile, store, bearers=bearers, run_id="both")
    assert (ending.exit_code, ending.counts.created) == (0, 4)
    assert {(r.task.test_id, r.task.organization_name) for r in notebook.results} == {
        (test, called) for number, called in enumerate(("east", "west")) for test in ids_of(jobfile, number)
    }
    for form in ("md", "html", "csv", "table"):
        text = ran("report", "both", "--organization", "west", "--format", form, "--store", store).stdout
        assert seen(text, ids_of(jobfile, 1)) == ids_of(jobfile, 1)
        assert seen(text, ids_of(jobfile, 0) | {"east", "secret-customer"}) == set()
    listed = json.loads(ran("list", "--organization", "ea*", "--json", "--store", store).stdout)
    assert {one["test_id"] for one in listed} == ids_of(jobfile, 0)
    assert "east+west" in ran("status", "both", "--store", store).stdout


def test_a_later_run_with_another_name_renames_nothing(tmp_path: Path) -> None:
    """What was made under a name is found under it, and so is what the other run made."""
    store = f"sqlite:///{tmp_path / 'store.db'}"
    with simulated(tests=4) as (simulator, url):
        plain = jobfile_for(simulator, url)
        (name,) = plain.organizations
        first, second = split(plain, acme=name), split(plain, acme=name, default=name)
        run_over_http(simulator, first, store, bearers={"acme": Bearer("token-1")}, run_id="night1")
        only = replace(second, jobs=(replace(second.jobs[1], priority=Priority.INCIDENT),))
        only = replace(only, organizations={"default": second.organizations["default"]}, name="snap")
        run_over_http(simulator, only, store, bearers={"default": Bearer("token-1")}, run_id="snap1")
    night = ran("report", "night1", "--organization", "acme", "--format", "csv", "--store", store)
    assert (night.code, seen(night.stdout, ids_of(first, 0))) == (0, ids_of(first, 0))
    listed = json.loads(ran("list", "--organization", "acme", "--json", "--store", store).stdout)
    assert {one["test_id"] for one in listed} == ids_of(first, 0)
    assert "acme" in ran("status", "night1", "--store", store).stdout
    assert "default" not in ran("status", "night1", "--store", store).stdout


def test_what_was_planned_with_another_ones_token_is_not_that_ones(tmp_path: Path) -> None:
    """The file says whose tests they are: they wait, and no other customer's report has them, nor theirs another's."""
    store = f"sqlite:///{tmp_path / 'store.db'}"
    with simulated(tests=2, organizations=2) as (simulator, url):
        plain = jobfile_for(simulator, url)
        acme, globex = plain.organizations
        wrong = {**plain.organizations, acme: replace(plain.organizations[acme], org_id="1001")}
        token = known_bearers(simulator)[globex]
        jobfile = replace(plain, organizations=wrong)
        # Both want the same test, as a copied job file does.
        jobfile = replace(
            jobfile, jobs=(replace(jobfile.jobs[0], tests=jobfile.jobs[1].tests), jobfile.jobs[1])
        )
        ending, _ = run_over_http(
            simulator, jobfile, store, bearers={acme: token, globex: token}, run_id="mixed"
        )
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (4, 2, 2)
    theirs = ran("report", "mixed", "--organization", globex, "--format", "csv", "--store", store)
    assert seen(theirs.stdout, ids_of(jobfile, 1)) == ids_of(jobfile, 1)
    own = ran("report", "mixed", "--organization", acme, "--format", "md", "--store", store).stdout
    assert "2 pending" in own
    assert "http://" not in own
    assert "https://" not in own
