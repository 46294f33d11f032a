"""What the doctor says of broken set-ups: for each the sentence, the remedy and the exit code."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.api.client import Client
from orchestrator.app.examine import Check, Level, examine, worst_code
from orchestrator.core.clock import SystemClock
from orchestrator.core.jobs import (
    CredentialSource,
    Http,
    Job,
    Organization,
    Select,
    TestRef,
    WindowSpec,
)
from orchestrator.simulator import Request, Simulator, World, example_world, serve
from orchestrator.simulator.world import CREATE_SNAPSHOTS, VIEW_ALERTS, VIEW_TAGS, VIEW_TESTS
from tests.support.clock import VirtualClock
from tests.support.incident import Gateway
from tests.support.virtual import VirtualGetter

SOURCE = "the token in the variable TE_TOKEN"
LAST_HOUR = (WindowSpec(last=3600.0),)


def subject(
    base_url: str = "https://api.thousandeyes.com/v7", *jobs: Job, **settings: Any
) -> tuple[Organization, tuple[Job, ...]]:
    """An organization to look at, and one job of a test that exists."""
    organization = Organization(
        name="acme", credential=CredentialSource(env="TE_TOKEN"), base_url=base_url, **settings
    )
    usual = job("night", tests=(TestRef(id="202701", test_name="Checkout 1"),))
    return organization, jobs or (usual,)


def job(name: str, **settings: Any) -> Job:
    """A job of the organization."""
    return Job(name=name, organizations=("acme",), windows=LAST_HOUR, **settings)


def trouble(checks: list[Check]) -> list[tuple[str, str, str]]:
    """What is wrong: about what, the sentence, the remedy."""
    return [(check.about, check.text, check.remedy) for check in checks if check.level >= Level.TROUBLE]


def with_token(**changes: Any) -> World:
    """A world whose token is different."""
    world = example_world()
    return replace(world, bearers=(replace(world.bearers[0], **changes),))


@contextmanager
def examined(world: World, *jobs: Job, spent: int = 0, **settings: Any) -> Iterator[list[Check]]:
    """The checks of an organization that the simulator serves over HTTP, after `spent` requests of others."""
    clock, simulator = SystemClock(), Simulator(world, latency=(0.0, 0.0))
    asking = Request(
        method="GET",
        path="/v7/account-groups",
        query={},
        headers={"authorization": "Bearer token-1"},
        body=b"",
    )
    for _ in range(spent):
        simulator.process(simulator.accept(asking, clock.wall()), clock.wall())
    with serve(simulator) as url:
        yield examine_at(url, *jobs, **settings)


def examine_at(url: str, *jobs: Job, **settings: Any) -> list[Check]:
    """The checks of an organization at this address."""
    clock = SystemClock()
    http = Http()
    client = Client(url, lambda: "token-1", clock=clock, http=http, user_agent="tesnap", environ={})
    try:
        return examine(*subject(url, *jobs, **settings), client, clock)
    finally:
        client.close()


@pytest.mark.socket
def test_a_sound_set_up_is_fine() -> None:
    """Everything is looked at, and nothing is wrong."""
    with examined(example_world(), account_group="2001", org_id="1001") as checks:
        assert trouble(checks) == []
        assert [check.about for check in checks] == [
            "token", "clock", "organization", "account group", "permission", "tests", "general limit",
        ]  # fmt: skip
        assert checks[0].text == f"{SOURCE} is valid, of user@example.com"
        assert worst_code(checks) == 0


@pytest.mark.socket
def test_an_expired_token() -> None:
    """It is said in the API's own words, and how to make another one; the exit code is 4."""
    with examined(with_token(expired=True)) as checks:
        ((about, text, remedy),) = trouble(checks)
        assert (about, text) == ("token", "refused (401): Access token expired.")
        assert remedy.startswith(f"{SOURCE}: make a new token in ThousandEyes")
        assert worst_code(checks) == 4


@pytest.mark.socket
def test_another_account_group() -> None:
    """An account group that the token does not open is named beside those that it does."""
    with examined(with_token(aids=("2001",)), account_group="7777") as checks:
        ((about, text, remedy),) = trouble(checks)
        assert (about, text) == (
            "account group",
            "7777 is not open to this token, which sees 2001 (Group 2001)",
        )
        assert remedy == "correct account_group, or have the token's user added to account group 7777"
        assert worst_code(checks) == 3


@pytest.mark.socket
def test_another_organization() -> None:
    """A token of another organization than the file's `org_id` is said with both."""
    with examined(example_world(), org_id="4711") as checks:
        ((about, text, remedy),) = trouble(checks)
        assert about == "organization"
        assert (
            text == "the token belongs to org-1 (org_id 1001), the job file says org_id 4711: nothing is sent"
        )
        assert remedy == "put the right organization's token there, or correct org_id"


@pytest.mark.socket
def test_a_missing_permission() -> None:
    """The permission is looked up in the user's roles, before a snapshot is refused for its lack."""
    kept = tuple(one for one in example_world().bearers[0].permissions if one != CREATE_SNAPSHOTS)
    with examined(with_token(permissions=kept)) as checks:
        ((about, text, remedy),) = trouble(checks)
        assert about == "permission"
        assert text.startswith(
            "'Create snapshot shares' is in none of the user's roles in account group 2001"
        )
        assert remedy.startswith("have an administrator add 'Create snapshot shares' to a role of this user")
        assert worst_code(checks) == 3


@pytest.mark.socket
def test_an_unknown_test() -> None:
    """A test that is not there, or is called otherwise, is named; so is a selector that finds nothing."""
    jobs = (
        job("ids", tests=(TestRef(id="999"),)),
        job("names", tests=(TestRef(id="202701", test_name="Chekout"),)),
        job("tags", select=Select(tag=("team:paymets",))),
    )
    with examined(example_world(), *jobs) as checks:
        found = trouble(checks)
        assert [text for _, text, _ in found][:2] == [
            "ids: test 999 is not in the list of tests of its account group; the API may answer 404",
            "names: test 202701 is called 'Checkout 1', the job file says 'Chekout'",
        ]
        assert "did you mean 'team:payments'?" in found[-1][1]
        assert found[0][2].startswith("correct the id, name its account_group, or take it out")
        assert found[1][2] == "correct the name or the id"


@pytest.mark.socket
@pytest.mark.parametrize(("offset", "side"), [(600.0, "behind"), (-600.0, "ahead of")])
def test_a_clock_ten_minutes_off(offset: float, side: str) -> None:
    """The difference is said with its direction, and how to set the clock."""
    with examined(replace(example_world(), clock_offset=offset)) as checks:
        ((about, text, remedy),) = trouble(checks)
        assert about == "clock"
        assert text.startswith(("this machine's clock is 9 m", "this machine's clock is 10 m"))
        assert f"{side} the API's" in text
        assert remedy.startswith("set this machine's clock (`timedatectl set-ntp true`")


@pytest.mark.socket
def test_an_unreachable_host() -> None:
    """Nothing else is looked at, and the address is in the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    checks = examine_at(f"http://127.0.0.1:{port}/v7")
    ((about, text, remedy),) = trouble(checks)
    assert len(checks) == 1
    assert (about, text) == ("API", f"it cannot be reached: connection refused by 127.0.0.1:{port}")
    assert (
        remedy
        == f"check base_url (http://127.0.0.1:{port}/v7), the network, and the proxy (http.proxy, HTTPS_PROXY)"
    )


@pytest.mark.socket
def test_an_exhausted_general_limit() -> None:
    """The doctor does not sit the minute out: it says when, and who else shares the limit."""
    with examined(example_world(), spent=240) as checks:
        ((about, text, remedy),) = trouble(checks)
        assert about == "general limit"
        assert text.startswith("used up: 0 of 240 requests a minute left, again in ")
        assert remedy.startswith("wait until then and look again")


@pytest.mark.socket
def test_a_limit_that_runs_out_on_the_way_is_said_once() -> None:
    """What could still be read is told, and the limit at the end."""
    with examined(example_world(), spent=237) as checks:
        assert [about for about, _, _ in trouble(checks)].count("general limit") == 1


@pytest.mark.socket
def test_a_wrong_address() -> None:
    """An address that is not the API's says so."""
    with serve(Simulator(example_world())) as url:
        ((about, text, remedy),) = trouble(examine_at(f"{url}/x"))
    assert about == "API"
    assert "404" in text
    assert remedy.startswith("check that base_url (")


# -- without a job file, and lists that fail -------------------------------------------------------------


def looked_at(
    world: World, changes: dict[str, dict[str, Any]] | None = None, *jobs: Job, **settings: Any
) -> list[Check]:
    """The checks over HTTP of an API some of whose answers are changed; without jobs, as of no job file."""
    clock = SystemClock()
    with serve(Gateway(world, changes or {}, latency=(0.0, 0.0))) as url:
        client = Client(url, lambda: "token-1", clock=clock, http=Http(), user_agent="t", environ={})
        try:
            return examine(subject(url, **settings)[0], jobs, client, clock)
        finally:
            client.close()


@pytest.mark.socket
def test_without_a_job_file_all_that_snap_may_ask_for_is_read() -> None:
    """Tags and alerts of every account group that the token opens, and the permission in each."""
    checks = looked_at(example_world(1, 6, account_groups=2))
    assert trouble(checks) == []
    said = {check.about: check.text for check in checks}
    assert said["tests"] == "12 tests, with their tags and 2 alerts active now, in 2 account groups"
    assert (
        said["permission"]
        == "'Create snapshot shares' is granted in account group 2001 and account group 2002"
    )


@pytest.mark.socket
def test_more_account_groups_than_a_sentence_names_are_counted() -> None:
    """Ten account groups are named, and none is passed over in silence."""
    said = {check.about: check.text for check in looked_at(example_world(1, 1, account_groups=12))}
    assert said["permission"].endswith("account group 2010 and 2 more")


@pytest.mark.socket
def test_of_one_account_group_no_other_is_read() -> None:
    """A token that is meant for one account group is looked at there."""
    said = {
        check.about: check.text
        for check in looked_at(example_world(1, 6, account_groups=2), account_group="2002")
    }
    assert said["tests"].startswith("6 tests")
    assert said["permission"].endswith("is granted in account group 2002")


@pytest.mark.socket
@pytest.mark.parametrize(
    ("permission", "about"), [(VIEW_TESTS, "tests"), (VIEW_TAGS, "tags"), (VIEW_ALERTS, "alerts")]
)
def test_a_permission_that_snap_may_need_is_missed(permission: str, about: str) -> None:
    """What `snap --alerting` would fail of is found without a job file, with the permission's name."""
    kept = tuple(one for one in example_world().bearers[0].permissions if one != permission)
    ((where, text, remedy),) = trouble(looked_at(with_token(permissions=kept)))
    assert where == about
    assert text.startswith(f"the {about} of account group 2001 (Group 2001) cannot be read: Forbidden.")
    assert remedy.startswith(f"have an administrator add '{permission}' to a role")


@pytest.mark.socket
@pytest.mark.parametrize(
    ("changes", "why", "remedy"),
    [
        ({"status": 500, "body": b""}, "Internal server error", "the trouble is on ThousandEyes' side"),
        (
            {"body": b'{"tests": [{"te'},
            "not the JSON that this list should be",
            "what answers is not the API's list",
        ),
        (
            {"body": b"<html><h1>Log in</h1></html>"},
            "A web page came back",
            "log in to the network, or check the proxy",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/tests", "/tags", "/alerts", "/account-groups"])
def test_a_list_that_fails_has_the_remedy_of_its_failure(
    path: str, changes: dict[str, Any], why: str, remedy: str
) -> None:
    """No permission is asked for that is not missing, and no list is passed over."""
    ((about, text, do),) = trouble(looked_at(example_world(), {path: changes}))
    assert about == path[1:].replace("-", " ")
    assert why in text
    assert do.startswith(remedy)
    assert "permission" not in text + do


@pytest.mark.socket
def test_a_list_that_a_job_file_does_not_need_is_not_missed() -> None:
    """Alerts only sort what is selected by name; a job of ids needs neither them nor tags."""
    jobs = (job("a", select=Select(test_name=("Login",))), job("b", tests=(TestRef(id="202701"),)))
    forbidden = {"status": 403, "body": b""}
    assert trouble(looked_at(example_world(), {"/alerts": forbidden, "/tags": forbidden}, *jobs)) == []
    alerting = job("c", select=Select(alerting=True))
    assert [
        about for about, _, _ in trouble(looked_at(example_world(), {"/alerts": forbidden}, *jobs, alerting))
    ] == ["alerts"]


@pytest.mark.socket
def test_a_web_page_is_no_valid_token() -> None:
    """A page that asks for a login, with 200, says nothing of the token."""
    ((about, text, remedy),) = trouble(
        looked_at(example_world(), {"/users/current": {"body": b"<h1>Log in</h1>"}})
    )
    assert about == "API"
    assert text == "something else answers in its place: a web page titled 'Log in' (200)"
    assert remedy.startswith("log in to the network, or check the proxy and that base_url (")


def test_a_role_that_cannot_be_read_is_no_trouble() -> None:
    """Whether the permission is there is then left to the first snapshot."""
    clock = VirtualClock()
    getter = VirtualGetter(Simulator(example_world()), clock, "token-1")
    read = getter.get

    class Closed:
        base_url = getter.base_url

        def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> Any:
            answer = read(path, query)
            return replace(answer, status=403) if path.startswith("/roles") else answer

    checks = examine(*subject(), Closed(), clock)
    assert trouble(checks) == []
    (permission,) = (check for check in checks if check.about == "permission")
    assert "cannot be looked up in account group 2001" in permission.text
    assert permission.level is Level.UNKNOWN


def test_a_token_whose_user_cannot_be_read_leaves_the_permission_unknown() -> None:
    """Such a token may read tests and no more: nothing says that it may make snapshots, and nothing is fine about it."""
    clock = VirtualClock()
    getter = VirtualGetter(Simulator(example_world()), clock, "token-1")
    read = getter.get

    class ReadOnly:
        base_url = getter.base_url

        def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> Any:
            answer = read(path, query)
            return replace(answer, status=403) if path.startswith(("/roles", "/users")) else answer

    checks = examine(*subject(), ReadOnly(), clock)
    assert trouble(checks) == []
    assert {check.about for check in checks if check.level is Level.UNKNOWN} >= {"token", "permission"}


@pytest.mark.socket
def test_saved_events_are_no_tests() -> None:
    """The list of tests has snapshots among them, which are not counted."""
    listed = {"tests": [{"testId": "1", "testName": "a"}, {"testId": "2", "savedEvent": True}]}
    changes = {"/tests": {"body": json.dumps(listed).encode()}}
    said = {check.about: check.text for check in looked_at(example_world(1, 6), changes)}
    assert said["tests"].startswith("1 test, ")
