"""The plan of a job file, given the surveys of its organizations."""

from __future__ import annotations

from typing import Any

from orchestrator.api.catalog import ConfiguredTest
from orchestrator.core.jobs import (
    CredentialSource,
    Job,
    JobFile,
    Organization,
    Priority,
    TestRef,
    WindowSpec,
)
from orchestrator.planning.discovery import OrganizationSurvey
from orchestrator.planning.scheduler import Plan, make_plan
from orchestrator.planning.selection import Listing

NOON = 1_795_003_200
HOUR = WindowSpec(start="2026-11-18T11:00:00Z", end="2026-11-18T12:00:00Z")
SURVEY = OrganizationSurvey(listings={"": Listing(tests={"1": ConfiguredTest(id="1", name="Checkout EU")})})


def job(name: str, *organizations: str, **settings: Any) -> Job:
    """A job of one test over an hour."""
    found = {"tests": (TestRef(id="1"),), "windows": (HOUR,), **settings}
    return Job(name=name, organizations=organizations, **found)


def plan(*jobs: Job, **surveys: OrganizationSurvey) -> Plan:
    """The plan of these jobs; the store knows an organization as its name in capitals."""
    names = {name for job in jobs for name in job.organizations}
    organizations = {name: Organization(name=name, credential=CredentialSource(env="T")) for name in names}
    jobfile = JobFile(name="f", jobs=jobs, organizations=organizations)
    return make_plan(jobfile, surveys, {name: name.upper() for name in names}, now=NOON)


def test_a_task_belongs_to_the_identity_that_the_store_knows() -> None:
    """People read the name, the queue the identity; the test's name comes from the list."""
    (task,) = plan(job("night", "acme"), acme=SURVEY).tasks
    assert (task.organization, task.organization_name, task.test_name) == ("ACME", "acme", "Checkout EU")


def test_an_organization_that_was_not_surveyed_has_no_task() -> None:
    """A plan is for those organizations alone that are served."""
    tasks = plan(job("night", "acme", "globex"), acme=SURVEY).tasks
    assert [task.organization_name for task in tasks] == ["acme"]


def test_one_snapshot_for_two_jobs_is_one_task_of_the_higher_priority() -> None:
    """The first job keeps it, a note says so, and what the other one expects holds as well."""
    expects = (TestRef(id="1", test_name="Login"),)
    found = plan(
        job("night", "acme"), job("now", "acme", tests=expects, priority=Priority.INCIDENT), acme=SURVEY
    )
    (task,) = found.tasks
    assert (task.job_name, task.priority, task.position) == ("night", Priority.INCIDENT, 0)
    assert task.refusal == "test 1 is called 'Checkout EU', the job file says 'Login'"
    assert found.notes == ("test 1, window 18 Nov 11:00–12:00 UTC: wanted by night and now; made once",)
