"""An independent client, ThousandEyes' own, takes the simulator for the real API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

core = pytest.importorskip("thousandeyes_sdk.core")
snapshots = pytest.importorskip("thousandeyes_sdk.snapshots")
administrative = pytest.importorskip("thousandeyes_sdk.administrative")
alerts = pytest.importorskip("thousandeyes_sdk.alerts")
tags = pytest.importorskip("thousandeyes_sdk.tags")
tests = pytest.importorskip("thousandeyes_sdk.tests")

from orchestrator.simulator import Simulator, example_world, serve  # noqa: E402 - after the skip

pytestmark = pytest.mark.socket

START, END = datetime(2023, 6, 6, 10, tzinfo=UTC), datetime(2023, 6, 6, 12, tzinfo=UTC)


@pytest.fixture
def url() -> Iterator[str]:
    """A server on loopback."""
    with serve(Simulator(example_world(), latency=(0.0, 0.0))) as url:
        yield url


def create(url: str, *, token: str = "token-1", test: str = "202701", **changes: object):  # type: ignore[no-untyped-def]  # noqa: ANN201 - the kit has no types; not a real token
    kit = core.Configuration(host=url, access_token=token)
    kit.retries = False  # it would sleep a minute after a 429
    fields = {"displayName": "outage", "startDate": START, "endDate": END, "isPublic": True} | changes
    request = snapshots.models.SnapshotRequest(**fields)
    return snapshots.TestSnapshotsApi(core.ApiClient(kit)).create_test_snapshot(test, request, aid="2001")


def test_every_field_of_a_snapshot_is_understood(url: str) -> None:
    """The kit's strict models parse the answer, with nothing left over."""
    made = create(url)
    assert (len(made.id), made.display_name, made.source_test_id) == (5, "outage", "202701")
    assert (made.start_round_id, made.end_round_id) == (int(START.timestamp()), int(END.timestamp()))
    assert made.round_id == made.start_round_id
    assert made.share_date.timestamp() == pytest.approx(time.time(), abs=60)
    assert made.uid
    assert (made.test.saved_event, made.test.test_id) == (True, made.test_id)
    assert (made.test.test_name, made.test.type.value, made.test.interval.value) == (
        "outage",
        "http-server",
        300,
    )
    assert made.links.app_link.href.startswith("https://app.thousandeyes.com/view/tests/?testId=")
    assert made.links.var_self.href == f"{url}/tests/202701/snapshot"
    extras = [made.model_extra, made.test.model_extra, made.links.model_extra, made.test.links.model_extra]
    assert not any(extras)


def test_a_wrong_window_is_understood(url: str) -> None:
    """A 400 arrives as the kit's ValidationError with its fields."""
    with pytest.raises(core.exceptions.BadRequestException) as caught:
        create(url, endDate=datetime(2023, 6, 6, 13, tzinfo=UTC))
    assert [error.var_field for error in caught.value.data.errors] == ["endDate"]


def test_refusals_are_understood(url: str) -> None:
    """401, 404 and 429 each arrive as their own class with their own text."""
    with pytest.raises(core.exceptions.UnauthorizedException) as unauthorized:
        create(url, token="wrong")
    assert unauthorized.value.data.error_description == "Invalid access token"
    with pytest.raises(core.exceptions.NotFoundException) as missing:
        create(url, test="1")
    assert missing.value.data.detail == "There is no test 1 in account group 2001"
    for _ in range(5):
        create(url)
    with pytest.raises(core.exceptions.TooManyRequestsException) as exhausted:
        create(url)
    assert exhausted.value.data.status == 429


BERLIN = timezone(timedelta(hours=2))


def api(url: str, kind: type):  # type: ignore[no-untyped-def]  # noqa: ANN201 - the kit has no types
    """One of the kit's classes for a part of the API."""
    kit = core.Configuration(host=url, access_token="token-1")
    kit.retries = False
    return kind(core.ApiClient(kit))


@pytest.mark.parametrize("zone", [UTC, BERLIN], ids=["utc", "berlin"])
def test_the_kit_s_dates_are_taken_as_they_come(url: str, zone: timezone) -> None:
    """`+0000` in a query, `+02:00` in a body: the instant is what counts."""
    made = create(url, startDate=START.astimezone(zone), endDate=END.astimezone(zone))
    assert (made.start_round_id, made.end_round_id) == (int(START.timestamp()), int(END.timestamp()))
    since = (datetime.now(UTC) - timedelta(days=300)).astimezone(zone)
    until = (datetime.now(UTC) + timedelta(minutes=1)).astimezone(zone)
    listed = api(url, alerts.AlertsApi).get_alerts(aid="2001", start_date=since, end_date=until)
    assert isinstance(listed.alerts, list)


def test_every_list_is_understood(url: str) -> None:
    """Account groups, the user, the role, tests and tags."""
    groups = api(url, administrative.AccountGroupsApi).get_account_groups()
    assert [group.aid for group in groups.account_groups] == ["2001"]
    user = api(url, administrative.UsersApi).get_current_user()
    (role,) = user.account_group_roles[0].roles
    assert api(url, administrative.RolesApi).get_role(role.role_id).permissions
    listed = api(url, tests.TestsApi).get_tests(aid="2001")
    assert [test.test_id for test in listed.tests] == ["202701", "202702", "202703"]
    found = api(url, tags.TagsApi).get_tags(aid="2001", expand=["assignments"])
    assert {tag.key for tag in found.tags} == {"team", "os"}
