"""What is read of an organization before anything is planned: enough, once, and within the general limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.api.catalog import Query
from orchestrator.api.response import Answer
from orchestrator.core.jobs import (
    SINCE_ALERT,
    CredentialSource,
    Fit,
    Job,
    Organization,
    Select,
    TestRef,
    WindowSpec,
)
from orchestrator.core.tasks import Reason
from orchestrator.planning.discovery import OrganizationSurvey, survey_organization
from orchestrator.planning.unreadable import UnreadableCause
from orchestrator.simulator import Simulator, World, example_world
from orchestrator.simulator.world import VIEW_ALERTS, VIEW_TAGS, VIEW_TESTS
from tests.support.clock import VirtualClock
from tests.support.incident import Script
from tests.support.virtual import VirtualGetter

ACME = Organization(name="acme", credential=CredentialSource(env="T"))
LAST_HOUR = (WindowSpec(last=3600.0),)


class Notepad:
    """A getter that notes what is read and lets another one read it."""

    def __init__(self, getter: Any) -> None:
        self.base_url: str = getter.base_url
        self.seen: list[str] = []
        self._getter = getter

    def get(self, path: str, query: Query = ()) -> Answer:
        """Note and read."""
        asked = dict(query)
        extra = [f"aid={asked['aid']}"] if "aid" in asked else []
        extra += [asked["state"]] if "state" in asked else []
        self.seen.append(" ".join([path, *extra]))
        answer: Answer = self._getter.get(path, query)
        return answer


def world(**changes: Any) -> World:
    """Two account groups with six tests each; in each of them one test is alerting and one was."""
    return replace(example_world(1, 6, account_groups=2), **changes)


def asked(
    *jobs: Job, of: World | None = None, organization: Organization = ACME, groups: tuple[str, ...] = ("",)
) -> tuple[OrganizationSurvey, list[str]]:
    """What is found out for these jobs, and what was read for it."""
    clock = VirtualClock()
    notepad = Notepad(VirtualGetter(Simulator(of or world()), clock, "token-1"))
    return survey_organization(notepad, organization, groups, jobs=jobs, clock=clock), notepad.seen


def job(**settings: Any) -> Job:
    """A job of the organization over the last hour."""
    return Job(**{"name": "j", "organizations": ("acme",), "windows": LAST_HOUR, **settings})


def test_a_job_of_ids_reads_the_tests_alone() -> None:
    """Without selectors tags and alerts are not read."""
    survey, seen = asked(job(tests=(TestRef(id="202701"),)))
    assert seen == ["/account-groups", "/tests"]
    assert set(survey.listings) == {""}
    assert (survey.org_id, survey.listings[""].label) == ("1001", "account group 2001 (Group 2001)")


def test_selectors_read_what_they_need_once() -> None:
    """Several jobs over one account group share its lists; alerts need a request for each state."""
    jobs = (job(select=Select(tag=("team:*",))), job(select=Select(alerting=True)))
    survey, seen = asked(*jobs)
    assert seen == ["/account-groups", "/tests", "/tags", "/alerts trigger", "/alerts clear"]
    lists = survey.listings[""]
    assert [tag.text for tag in lists.tags or ()] == ["team:payments", "os:linux"]
    assert [tag.dynamic for tag in lists.tags or ()] == [False, True]
    assert {alert.test_id for alert in lists.alerts or ()} == {"202701", "202702"}


def test_a_job_that_looks_everywhere_reads_every_account_group() -> None:
    """The credential's own group goes by no aid, all others by theirs."""
    survey, seen = asked(job(select=Select(test_name=("Login",)), everywhere=True))
    assert [line for line in seen if line.startswith("/tests")] == ["/tests", "/tests aid=2002"]
    assert list(survey.listings) == ["", "2002"]


@pytest.mark.parametrize(("test_id", "reads"), [("202701", 1), ("202707", 2), ("999", 2)])
def test_ids_are_looked_for_until_they_are_found(test_id: str, reads: int) -> None:
    """Ids alone read further account groups only while one of them is missing."""
    _, seen = asked(job(tests=(TestRef(id=test_id),), everywhere=True))
    assert sum(line.startswith("/tests") for line in seen) == reads


def test_a_window_since_an_alert_reads_the_alerts() -> None:
    """Ids with `--since alert` need the alerts, and no tags."""
    since = (WindowSpec(start=SINCE_ALERT, fit=Fit.COVER),)
    _, seen = asked(job(tests=(TestRef(id="202701"),), windows=since))
    assert seen == ["/account-groups", "/tests", "/alerts trigger", "/alerts clear"]


def test_alerts_are_read_over_all_pages() -> None:
    """Twelve alerts on pages of five are all found."""
    groups = example_world(1, 12).organizations[0].account_groups
    first = groups[0].alerts[0]
    alerts = tuple(
        replace(first, alert_id=f"a{n}", test_id=test.test_id) for n, test in enumerate(groups[0].tests)
    )
    organization = replace(
        example_world(1, 12).organizations[0], account_groups=(replace(groups[0], alerts=alerts),)
    )
    survey, seen = asked(
        job(select=Select(alerting=True)), of=world(organizations=(organization,), page_size=5)
    )
    assert len(survey.listings[""].alerts or ()) == 12
    assert seen.count("/alerts trigger") == 3


def without(*permissions: str) -> World:
    """A world whose token lacks these permissions."""
    made = world()
    (bearer,) = made.bearers
    kept = tuple(one for one in bearer.permissions if one not in permissions)
    return replace(made, bearers=(replace(bearer, permissions=kept),))


def test_a_list_that_is_refused_leaves_the_others() -> None:
    """A missing permission is a note, and why the list is missing stays with it."""
    survey, _ = asked(job(select=Select(tag=("team:*",))), of=without(VIEW_TAGS))
    lists = survey.listings[""]
    assert lists.tags is None
    assert lists.tests is not None
    assert [(missing.of, missing.where, missing.cause) for missing in lists.unreadable] == [
        ("tags", "account group 2001 (Group 2001)", UnreadableCause.FORBIDDEN)
    ]
    assert survey.notes[0].startswith(
        "the tags of account group 2001 (Group 2001) cannot be read: Forbidden."
    )


def test_alerts_that_only_sort_are_missed_in_silence() -> None:
    """A selection by name goes on without the permission to see alerts."""
    survey, _ = asked(job(select=Select(test_name=("Login",))), of=without(VIEW_ALERTS))
    assert survey.notes == ()
    assert "the alerts of account group 2001 (Group 2001) cannot be read" in survey.debug_notes[0]


def test_tests_that_cannot_be_read_are_known_by_id() -> None:
    """Without the tests, nothing else of the account group is read."""
    survey, seen = asked(job(select=Select(tag=("team:*",))), of=without(VIEW_TESTS))
    assert seen == ["/account-groups", "/tests"]
    assert survey.listings[""].tests is None
    assert "so they are known by id alone" in survey.notes[0]


class Closed:
    """A getter that answers one path with something else than the API's list."""

    def __init__(self, getter: Any, path: str, **changes: Any) -> None:
        self.base_url: str = getter.base_url
        self._getter, self._path, self._changes = getter, path, changes

    def get(self, path: str, query: Query = ()) -> Answer:
        """The answer, changed where it is meant."""
        answer: Answer = self._getter.get(path, query)
        return replace(answer, **self._changes) if path == self._path else answer


def without_groups(*jobs: Job, **changes: Any) -> OrganizationSurvey:
    """What is found out where the list of account groups is answered otherwise."""
    clock = VirtualClock()
    getter = VirtualGetter(Simulator(world()), clock, "token-1")
    closed = Closed(getter, "/account-groups", **{"status": 500, "body": b"", **changes})
    return survey_organization(closed, ACME, [""], jobs=jobs, clock=clock)


def test_account_groups_that_cannot_be_searched_are_said() -> None:
    """Selectors that mean all account groups say which one alone they were compared with, and what to do."""
    survey = without_groups(job(select=Select(alerting=True), everywhere=True))
    (note,) = survey.notes
    assert note == (
        "the account groups cannot be read: Internal server error. Only the token's own account group is searched,"
        " and NOT the others that the token may open: the trouble is on ThousandEyes' side or a gateway's: try"
        " again shortly, or search another one with --account-group"
    )
    html = without_groups(
        job(select=Select(), everywhere=True), status=200, body=b"<html><title>Log in</title>"
    )
    assert "check the proxy and base_url" in html.notes[0]


@pytest.mark.parametrize(("test_id", "notes"), [("202701", 0), ("999", 1)])
def test_account_groups_matter_only_to_ids_that_are_not_found(test_id: str, notes: int) -> None:
    """An id that the token's own account group has needs no other one."""
    survey = without_groups(job(tests=(TestRef(id=test_id),), everywhere=True))
    assert len(survey.notes) == notes


def test_account_groups_do_not_matter_to_a_job_of_one() -> None:
    """A job file's job looks in its own account group alone."""
    assert without_groups(job(select=Select(alerting=True))).notes == ()


def test_an_account_group_that_is_not_the_tokens_is_said_with_those_that_are() -> None:
    """Not the permission is missing: the number is wrong."""
    survey, _ = asked(job(select=Select(), account_group="99"), groups=("99",))
    (missing,) = survey.listings["99"].unreadable
    assert missing.cause is UnreadableCause.CLOSED
    assert missing.text == (
        "the tests of account group 99 cannot be read: it is not open to this token, which sees"
        " 2001 (Group 2001) and 2002 (Group 2002)"
    )


def test_a_refused_token_stops_the_organization() -> None:
    """A 401 ends the reading at once."""
    survey, seen = asked(job(), of=world(bearers=()))
    assert survey.stopped is Reason.TOKEN_REFUSED
    assert seen == ["/account-groups"]


def test_another_organization_than_the_job_file_says_is_stopped() -> None:
    """A wrong `org_id` stops it before any of its lists is read."""
    survey, seen = asked(job(), organization=replace(ACME, org_id="4711"))
    assert survey.stopped is Reason.TOKEN_REFUSED
    assert "belongs to organization 1001, the job file says org_id 4711" in survey.because
    assert seen == ["/account-groups"]


# -- the clock ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "expected"), [(600.0, 600.0), (-600.0, -600.0), (3.0, 0.0)])
def test_the_clock_difference_is_noted_unless_it_is_rounding(offset: float, expected: float) -> None:
    """`Date` has whole seconds, so a difference of a few is none."""
    clock = VirtualClock()
    script = Script(clock, (200, {}), offset=offset)
    assert survey_organization(script, ACME, [""], clock=clock).offset == expected
