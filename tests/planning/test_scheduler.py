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
    (task,) = plan(job("night", "acme"), acme=SURVEY)
    assert (task.organization, task.organization_name, task.test_name) == ("ACME", "acme", "Checkout EU")


def test_an_organization_that_was_not_surveyed_has_no_task() -> None:
    """A plan is for those organizations alone that are served."""
    tasks = plan(job("night", "acme", "globex"), acme=SURVEY)
    assert [task.organization_name for task in tasks] == ["acme"]


def test_one_snapshot_for_two_jobs_is_one_task_of_the_higher_priority() -> None:
    """The first job keeps it, a note says so, and what the other one expects holds as well."""
    expects = (TestRef(id="1", test_name="Login"),)
    found = plan(
        job("night", "acme"), job("now", "acme", tests=expects, priority=Priority.INCIDENT), acme=SURVEY
    )
    (task,) = found
    assert (task.job_name, task.priority, task.position) == ("night", Priority.INCIDENT, 0)
    assert task.refusal == "test 1 is called 'Checkout EU', the job file says 'Login'"
    assert found.notes == ("test 1, window 18 Nov 11:00–12:00 UTC: wanted by night and now; made once",)


# -- tests that account groups share ------------------------------------------------------------------------


def in_groups(**listed: str) -> OrganizationSurvey:
    """An organization whose own account group is 900; which test each group (`own`, `g1000`) has."""
    own = {"": Listing(group_id="900", tests=_tests(listed.pop("own")))}
    others = {
        group[1:]: Listing(aid=group[1:], group_id=group[1:], tests=_tests(test))
        for group, test in listed.items()
    }
    return OrganizationSurvey(listings=own | others)


def _tests(test_id: str) -> dict[str, ConfiguredTest]:
    return {test_id: ConfiguredTest(id=test_id, name="Shared")}


def groups_of(found: Plan) -> list[str]:
    """The account group of each task."""
    return [task.account_group for task in found]


def test_a_shared_test_that_two_jobs_want_is_made_once_unless_both_write_a_group() -> None:
    """The group that a job writes goes before one that nobody wrote; a note says which it is."""
    survey = in_groups(own="1", g1000="1", g2000="1")
    once = plan(job("plain", "acme"), job("other", "acme", account_group="1000"), acme=survey)
    assert groups_of(once) == ["1000"]
    assert once.notes == (
        "test 1, window 18 Nov 11:00–12:00 UTC: wanted by plain and other; made once in account group 1000",
    )
    asked = (job(group, "acme", account_group=group) for group in ("1000", "2000"))
    assert groups_of(plan(*asked, acme=survey)) == ["1000", "2000"]


def test_the_own_account_group_is_one_however_it_is_written() -> None:
    """By its id or by none."""
    survey = in_groups(own="1", g900="1")
    jobs = job("plain", "acme"), job("typed", "acme", account_group="900", priority=Priority.INCIDENT)
    (task,) = plan(*jobs, acme=survey)
    assert (task.account_group, task.priority) == ("900", Priority.INCIDENT)


def test_a_test_that_one_of_two_groups_does_not_have_is_not_shared() -> None:
    """Then the one that is wrong fails, and the right one is made."""
    survey = in_groups(own="1", g1000="2")
    found = plan(job("plain", "acme"), job("wrong", "acme", account_group="1000"), acme=survey)
    assert groups_of(found) == ["", "1000"]
