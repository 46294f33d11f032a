"""The simulator answers as the documents say, and its log tells the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator import (
    Exchange,
    Fault,
    FaultPlan,
    Reply,
    Request,
    Simulator,
    World,
    example_world,
    script_faults,
)
from orchestrator.simulator.world import EXAMPLE_TIME, VIEW_TESTS, TenantTest
from tests.support.server_log import find_duplicates, most_in_any_window

NOW = EXAMPLE_TIME + 4800  # 2026-11-18T12:26:40Z
BODY: dict[str, Any] = {
    "displayName": "outage",
    "startDate": "2026-11-18T10:00:00Z",
    "endDate": "2026-11-18T12:00:00Z",
}
HEADERS = {"authorization": "Bearer token-1", "Content-Type": "application/json", "Host": "127.0.0.1:8"}
AT_ONCE = (0.0, 0.0)


def simulator(world: World | None = None, **options: Any) -> Simulator:
    return Simulator(world or example_world(2, 3, now=NOW), **{"latency": AT_ONCE, **options})


def ask(sim: Simulator, request: Request, at: float = NOW) -> Reply:
    reply = sim.process(sim.accept(request, at), at)
    assert reply is not None
    return reply


def post(body: object = BODY, test: str = "202701", aid: str | None = None, **headers: str) -> Request:
    named = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    query = {} if aid is None else {"aid": aid}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/v7/tests/{test}/snapshot"
    return Request(method="POST", path=path, query=query, headers=named, body=content)


def get(path: str, query: Mapping[str, str] | None = None, token: str = "token-1") -> Request:
    headers = {"Authorization": f"Bearer {token}", "Host": "127.0.0.1:8"}
    return Request(method="GET", path=f"/v7{path}", query=query or {}, headers=headers)


def read(reply: Reply) -> Any:
    return reply.json()


def test_a_snapshot_is_made() -> None:
    """The answer has every field of the schema; the log has what was counted."""
    sim = simulator()
    reply = ask(sim, post(BODY | {"isPublic": True}))
    made = read(reply)
    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/hal+json"
    test = made.pop("test")
    assert (test["savedEvent"], test["testName"], test["testId"]) == (True, "outage", made["testId"])
    assert made == {
        "id": sim.log[0].snapshot,
        "startRoundId": 1794996000,
        "endRoundId": 1795003200,
        "roundId": 1794996000,
        "shareDate": "2026-11-18T12:26:40Z",
        "sourceTestId": "202701",
        "testId": "281474976710802",
        "uid": "1624",
        "displayName": "outage",
        "_links": {
            "self": {"href": "http://127.0.0.1:8/v7/tests/202701/snapshot"},
            "appLink": {"href": "https://app.thousandeyes.com/view/tests/?testId=281474976710802&__a=2001"},
        },
    }
    entry = sim.log[0]
    assert (entry.organization, entry.aid, entry.test, entry.bearer) == ("1001", "2001", "202701", "token-1")
    assert (entry.counted, entry.status, entry.start, entry.end) == (True, 201, 1794996000.0, 1795003200.0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"displayName": None}, "displayName"),
        ({"displayName": " "}, "displayName"),
        ({"displayName": 7}, "displayName"),
        ({"startDate": None}, "startDate"),
        ({"startDate": "2026-11-18 10:00:00"}, "startDate"),
        ({"startDate": "2026-11-18T10:00:00"}, "startDate"),
        ({"startDate": "2026-13-18T10:00:00Z"}, "startDate"),
        ({"startDate": 1794996000}, "startDate"),
        ({"endDate": "2026-11-18T13:00:00Z", "startDate": "2026-11-18T12:00:00Z"}, "endDate"),
        ({"endDate": "2026-11-18T12:00:01Z"}, "endDate"),
        ({"startDate": "2026-11-18T09:00:00Z"}, "endDate"),
        ({"startDate": "2026-11-18T12:00:00Z"}, "endDate"),
        ({"isPublic": "true"}, "isPublic"),
        ({"isPublic": None}, "isPublic"),
    ],
)
def test_each_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    """A 400 as problem+json with the field; nothing is made and no slot used."""
    sim = simulator()
    reply = ask(sim, post(BODY | change))
    assert (reply.status, reply.headers["Content-Type"]) == (400, "application/problem+json")
    body = read(reply)
    assert [error["field"] for error in body["errors"]] == [field]
    assert set(body) == {"type", "title", "status", "detail", "instance", "errors"}
    assert not sim.log[0].counted


@pytest.mark.parametrize("missing", ["displayName", "startDate", "endDate"])
def test_a_missing_field_is_named(missing: str) -> None:
    """All three are required."""
    reply = ask(simulator(), post({key: value for key, value in BODY.items() if key != missing}))
    assert (reply.status, read(reply)["errors"][0]["field"]) == (400, missing)


def test_all_wrong_fields_are_named_at_once() -> None:
    """An empty object lacks three."""
    assert [e["field"] for e in read(ask(simulator(), post({})))["errors"]] == [
        "displayName",
        "startDate",
        "endDate",
    ]


@pytest.mark.parametrize("hours", [1, 2, 4, 6, 12, 24, 48])
def test_the_published_lengths_pass(hours: int) -> None:
    """Each of the seven; `+00:00` is UTC too."""
    start = 1795003200 - hours * 3600
    day, rest = divmod(start - 1794960000, 86400)
    body = BODY | {"startDate": f"2026-11-{18 + day}T{rest // 3600:02}:00:00+00:00"}
    assert ask(simulator(), post(body)).status == 201


@pytest.mark.parametrize(
    "start",
    ["2026-11-18T10:00:00.000000+0000", "2026-11-18T12:00:00+02:00", "2026-11-18T04:30:00-0530"],
)
def test_an_instant_may_be_written_with_any_offset(start: str) -> None:
    """As ThousandEyes' own client writes it; the two hours end at noon, and fields of others do no harm."""
    reply = ask(
        simulator(), post(BODY | {"startDate": start, "endDate": "2026-11-18T12:00:00Z", "more": [1]})
    )
    assert reply.status == 201
    assert read(reply)["startRoundId"] == 1794996000


@pytest.mark.parametrize("body", [b"", b"no", b"[]", b"1", b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """Whatever it is instead."""
    assert ask(simulator(), post(body)).status == 400


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(authorization="Bearer wrong"), 401),
        (post(authorization=""), 401),
        (post(authorization="Basic token-1"), 401),
        (post(test="999"), 404),
        (post(aid="2002"), 404),
        (post(test="202704"), 404),
        (post(Content_Type="text/plain"), 415),
        (post(Accept="text/html"), 406),
        (get("/tests/202701/snapshot"), 405),
        (replace(get("/tests"), method="POST"), 405),
        (get("/nothing"), 404),
        (get("/tests", {"aid": "2002"}), 404),
        (get("/tags", {"expand": "all"}), 400),
    ],
)
def test_what_cannot_be_served_is_refused(request_: Request, status: int) -> None:
    """Each with its status and a problem that says why."""
    reply = ask(simulator(), request_)
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert read(reply)["error" if status == 401 else "detail"]


def test_an_expired_token_is_refused() -> None:
    """With the two fields of a 401."""
    world = example_world()
    world = replace(world, bearers=(replace(world.bearers[0], expired=True),))
    reply = ask(simulator(world), post())
    assert read(reply) == {"error": "invalid_token", "error_description": "Access token expired"}


def test_permissions_come_before_everything_but_the_token() -> None:
    """Without the permission even an unknown test is a 403; reading is a permission of its own."""
    world = example_world()
    world = replace(world, bearers=(replace(world.bearers[0], permissions=(VIEW_TESTS,)),))
    sim = simulator(world)
    assert ask(sim, post(test="999")).status == 403
    assert "Create snapshot shares" in read(ask(sim, post()))["detail"]
    assert ask(sim, get("/tests")).status == 200
    assert ask(sim, get("/alerts")).status == 403


def test_a_token_opens_only_its_account_groups() -> None:
    """Another one of the same organization is not found, nor listed; the first open one is the default."""
    world = example_world(account_groups=2)
    sim = simulator(replace(world, bearers=(replace(world.bearers[0], aids=("2002",)),)))
    assert ask(sim, post(aid="2001")).status == 404
    assert ask(sim, post(test="202704")).status == 201
    groups = read(ask(sim, get("/account-groups")))["accountGroups"]
    assert [group["aid"] for group in groups] == ["2002"]


@pytest.mark.parametrize("switch", ["saved_event", "endpoint"])
def test_saved_events_and_endpoint_tests_cannot_be_snapshotted(switch: str) -> None:
    """A 400, not a 404."""
    world = example_world()
    group = world.organizations[0].account_groups[0]
    odd = TenantTest(test_id="5", name="odd", **{switch: True})  # type: ignore[arg-type]  # two booleans
    organization = replace(world.organizations[0], account_groups=(replace(group, tests=(odd,)),))
    assert ask(simulator(replace(world, organizations=(organization,))), post(test="5")).status == 400


def test_the_snapshot_limit_is_the_organizations() -> None:
    """Account groups and tokens share it, other organizations do not, and refusals come back in time."""
    sim = simulator(example_world(2, 3, account_groups=2, tokens=2))
    tests = [("202701", "token-1"), ("202704", "token-1-2"), ("202702", "token-1")]
    aids = {"202704": "2002"}
    sent = [tests[n % 3] for n in range(6)]
    statuses = [
        ask(sim, post(test=t, aid=aids.get(t), authorization=f"Bearer {b}"), NOW + n).status
        for n, (t, b) in enumerate(sent)
    ]
    assert statuses == [201] * 5 + [429]
    assert ask(sim, post(test="202707", authorization="Bearer token-2"), NOW + 7).status == 201
    assert ask(sim, post(), NOW + 299.9).status == 429
    assert ask(sim, post(), NOW + 300).status == 201
    assert most_in_any_window(sim.log, "1001", 300.0) == 5


def test_an_organization_may_have_a_limit_of_its_own() -> None:
    """Its figure and its period hold for it, the server's for the others."""
    world = example_world(2)
    own = replace(world.organizations[1], limit=1, period=60.0)
    sim = simulator(replace(world, organizations=(world.organizations[0], own)), limit=2)

    def asked(token: str, test: str, at: float) -> int:
        return ask(sim, post(test=test, authorization=f"Bearer {token}"), at).status

    assert [asked("token-1", "202701", NOW + n) for n in range(3)] == [201, 201, 429]
    assert [asked("token-2", "202704", NOW + 10 + n) for n in range(2)] == [201, 429]
    assert [asked("token-2", "202704", NOW + 71), asked("token-1", "202701", NOW + 72)] == [201, 429]


def test_a_429_of_the_snapshot_limit_has_no_hint_but_the_general_headers() -> None:
    """No Retry-After unless the world says so; Remaining is not zero."""
    for switch in (False, True):
        sim = simulator(example_world(sends_retry_after=switch), limit=1)
        ask(sim, post())
        headers = ask(sim, post()).headers
        assert headers.get("Retry-After") == ("300" if switch else None)
        assert headers["X-Organization-Rate-Limit-Remaining"] == "238"
        assert headers["X-Organization-Rate-Limit-Reset"] == str(int(NOW) + 60)


def test_only_valid_requests_count() -> None:
    """Five refused ones leave five slots."""
    sim = simulator()
    for request in (post({}), post(test="999"), post(authorization="x"), post(b""), post(aid="1")):
        ask(sim, request)
    assert [ask(sim, post()).status for _ in range(6)] == [201] * 5 + [429]
    assert [entry.exhausted for entry in sim.log[-2:]] == [None, "snapshots"]


def test_the_general_limit_refuses_the_241st_request() -> None:
    """With Remaining 0; a minute after the first all is well."""
    sim = simulator()
    replies = [ask(sim, get("/users/current")) for _ in range(241)]
    assert [reply.status for reply in replies[-2:]] == [200, 429]
    assert replies[-1].headers["X-Organization-Rate-Limit-Remaining"] == "0"
    assert sim.log[-1].exhausted == "general"
    assert ask(sim, get("/users/current"), NOW + 60).status == 200


@pytest.mark.parametrize(("public", "says_v7", "saved"), [(1, 1, 1), (0, 1, 0), (1, 0, 0), (0, 0, 1)])
def test_is_public_can_be_read_either_way(public: int, says_v7: int, saved: int) -> None:
    """Saved events appear among the tests, share links nowhere."""
    sim = simulator(example_world(public_is_saved_event=bool(says_v7)))
    made = read(ask(sim, post(BODY | {"isPublic": bool(public)})))
    assert made["test"]["savedEvent"] is bool(saved)
    tests = read(ask(sim, get("/tests")))["tests"]
    events = [test for test in tests if test["savedEvent"]]
    assert (len(tests), len(events)) == (3 + saved, saved)
    for event in events:
        assert (event["testName"], event["createdDate"]) == ("outage", "2026-11-18T12:26:40Z")
        assert event["testId"] == made["testId"]
        assert ask(sim, post(test=event["testId"])).status == 400


def test_a_region_may_have_no_share_links() -> None:
    """A 403 that is not about permissions, and uses no slot."""
    sim = simulator(example_world(share_links_allowed=False), limit=1)
    assert "region" in read(ask(sim, post()))["detail"]
    assert ask(sim, post(BODY | {"isPublic": True})).status == 201


def test_rounds_may_be_aligned() -> None:
    """With the switch on, both ends fall on the test's interval of five minutes."""
    body = BODY | {"startDate": "2026-11-18T10:03:20Z", "endDate": "2026-11-18T12:03:20Z"}
    made = read(ask(simulator(example_world(aligns_rounds=True)), post(body)))
    assert (made["startRoundId"], made["endRoundId"]) == (1794996000, 1795003200)


def test_the_servers_clock_may_be_off() -> None:
    """Its Date, Reset, share date and idea of the future are; the log is not."""
    sim = simulator(example_world(clock_offset=-1800.0))
    assert ask(sim, post()).status == 400  # 12:00 is still to come
    reply = ask(sim, post(BODY | {"startDate": "2026-11-18T09:00:00Z", "endDate": "2026-11-18T11:00:00Z"}))
    assert reply.headers["Date"] == "Wed, 18 Nov 2026 11:56:40 GMT"
    assert reply.headers["X-Organization-Rate-Limit-Reset"] == str(int(NOW) - 1800 + 60)
    assert read(reply)["shareDate"] == "2026-11-18T11:56:40Z"
    assert sim.log[-1].counted_at == NOW


def test_tests_are_listed_at_once() -> None:
    """Those of the account group, with the fields that tell them apart."""
    tests = read(ask(simulator(), get("/tests")))["tests"]
    assert [(t["testId"], t["testName"], t["type"]) for t in tests] == [
        ("202701", "Checkout 1", "http-server"),
        ("202702", "Login 2", "page-load"),
        ("202703", "Search 3", "agent-to-server"),
    ]


def test_tags_show_their_assignments_only_when_asked() -> None:
    """And only static ones have any."""
    sim = simulator()
    plain = read(ask(sim, get("/tags")))["tags"]
    static, dynamic = read(ask(sim, get("/tags", {"expand": "assignments"})))["tags"]
    assert all("assignments" not in tag for tag in [*plain, dynamic])
    assert (static["key"], static["value"], static["type"]) == ("team", "payments", "static")
    assert static["assignments"] == [{"id": "202701", "type": "test"}, {"id": "202703", "type": "test"}]


@pytest.mark.parametrize(
    ("query", "tests"),
    [
        ({}, ["202701"]),
        ({"state": "trigger"}, ["202701"]),
        ({"state": "clear"}, ["202702"]),
        ({"window": "90m"}, ["202701", "202702"]),
        ({"window": "30m"}, ["202701"]),
        ({"window": "90m", "state": "trigger"}, []),
        ({"window": "3h", "state": "trigger"}, ["202701"]),
        ({"window": "3600", "state": "clear"}, ["202702"]),
        ({"startDate": "2026-11-18T11:00:00Z", "endDate": "2026-11-18T12:00:00Z"}, ["202701", "202702"]),
        ({"startDate": "2026-11-18T09:00:00Z", "endDate": "2026-11-18T10:00:00Z"}, []),
    ],
)
def test_alerts_are_filtered_as_published(query: dict[str, str], tests: list[str]) -> None:
    """The first test's alert has been active for two hours; the second's cleared an hour ago."""
    alerts = read(ask(simulator(), get("/alerts", query)))["alerts"]
    assert sorted(alert["_links"]["test"]["href"].rpartition("/")[2] for alert in alerts) == tests


def test_an_alert_is_as_of_now() -> None:
    """It does not exist before its start, is active until its end, and cleared from then on."""
    sim, states = simulator(), []
    for moment in (NOW - 7201, NOW - 7200, NOW - 3600):
        shown = [read(ask(sim, get("/alerts", {"state": state}), moment)) for state in ("trigger", "clear")]
        states.append([len(content["alerts"]) for content in shown])
        sim = simulator()
    assert states == [[0, 0], [2, 0], [1, 1]]


@pytest.mark.parametrize(
    "query",
    [
        {"state": "active"},
        {"window": "1y"},
        {"window": "1h", "startDate": "2026-11-18T11:00:00Z"},
        {"endDate": "2026-11-18T11:00:00Z"},
        {"startDate": "yesterday"},
        {"max": "0"},
        {"cursor": "nonsense"},
    ],
)
def test_wrong_filters_are_refused(query: dict[str, str]) -> None:
    """Each with a 400 that names the first parameter."""
    reply = ask(simulator(), get("/alerts", query))
    assert (reply.status, read(reply)["errors"][0]["field"]) == (400, next(iter(query)))


def test_alerts_come_in_pages() -> None:
    """The absolute next link leads through all of them once, filters kept, and then ends."""
    world = example_world(tests=2)
    group = world.organizations[0].account_groups[0]
    many = tuple(replace(group.alerts[0], alert_id=str(n), start=NOW - n) for n in range(1, 6))
    organization = replace(world.organizations[0], account_groups=(replace(group, alerts=many),))
    sim = simulator(replace(world, organizations=(organization,)))
    seen, query = [], {"state": "trigger", "max": "2"}
    for _ in range(3):
        page = read(ask(sim, get("/alerts", query)))
        seen += [alert["id"] for alert in page["alerts"]]
        link = page["_links"].get("next", {}).get("href", "")
        query = dict(
            pair.split("=") for pair in link.partition("?")[2].replace("%3D", "~").split("&") if pair
        )
        query = {key: value.replace("~", "=") for key, value in query.items()}
        assert not link or link.startswith("http://127.0.0.1:8/v7/alerts?state=trigger&max=2&cursor=")
    assert (seen, query) == (["1", "2", "3", "4", "5"], {})


def test_account_groups_name_their_organization_unless_the_server_does_not() -> None:
    """Both fields are optional in the schema."""
    group = read(ask(simulator(), get("/account-groups")))["accountGroups"][0]
    assert group == {
        "aid": "2001",
        "accountGroupName": "Group 2001",
        "isCurrentAccountGroup": True,
        "isDefaultAccountGroup": True,
        "organizationName": "org-1",
        "orgId": "1001",
    }
    silent = simulator(example_world(shows_org_id=False))
    assert "orgId" not in read(ask(silent, get("/account-groups")))["accountGroups"][0]


def test_the_current_user_is_the_tokens() -> None:
    """A cheap check of a token."""
    user = read(ask(simulator(), get("/users/current")))
    assert (user["email"], user["loginAccountGroup"]["aid"]) == ("user@example.com", "2001")


@pytest.mark.parametrize(
    ("fault", "status", "made"),
    [
        ("500", 500, False),
        ("502-after", 502, True),
        ("503", 503, False),
        ("408", 408, False),
        ("307", 307, False),
        ("html", 502, False),
        ("reset-before", None, False),
        ("reset-after", None, True),
        ("hang-before", None, False),
        ("hang-after", None, True),
        ("cut-head", 201, True),
        ("cut-body", 201, True),
        ("drip", 201, True),
        ("foreign", 429, False),
    ],
)
def test_each_fault_is_answered_and_logged(fault: str, status: int | None, made: bool) -> None:
    """The log knows what was made whatever the client got to hear."""
    sim = simulator(faults=script_faults([fault]))
    reply = sim.process(sim.accept(post(), NOW), NOW)
    assert (reply and reply.status) == status
    entry = sim.log[0]
    assert (entry.status, entry.counted, entry.fault) == (status, made, str(Fault.parse(fault)))
    assert (entry.answered is None) == (status is None)
    again = ask(sim, post())
    assert again.status == (429 if fault == "foreign" else 201)
    assert bool(find_duplicates(sim.log)) is made


def test_a_foreign_client_takes_slots_at_its_rate() -> None:
    """About one every 100 seconds and organization; each one that gets a slot is missing for us."""
    sim = simulator(faults=FaultPlan(foreign_rate=0.01), limit=1000, period=1e6)
    ask(sim, get("/users/current"), NOW)
    ask(sim, get("/users/current"), NOW + 100_000)
    for org_id in ("1001", "1002"):
        uses = [use for use in sim.foreign_uses if use[0] == org_id]
        assert len(uses) == pytest.approx(1000, rel=0.15)
        assert all(got for _, _, got in uses[:900])


def test_latency_lies_in_its_spread_and_the_origin_acts_in_between() -> None:
    """Uniform around the mean; never before arrival nor after the answer."""
    sim = simulator(latency=(5.0, 4.0))
    exchanges = [sim.accept(get("/tests"), NOW) for _ in range(500)]
    latencies = [e.answer_at - NOW for e in exchanges]
    assert 1.0 <= min(latencies) < 1.5
    assert 8.5 < max(latencies) <= 9.0
    assert all(e.arrived <= e.process_at <= e.answer_at for e in exchanges)
    shares = [(e.process_at - NOW) / (e.answer_at - NOW) for e in exchanges]
    assert sum(shares) / 500 == pytest.approx(0.5, abs=0.05)


def test_a_run_repeats_itself_from_its_seed() -> None:
    """The same requests at the same times leave the same log."""

    def run(seed: int) -> Simulator:
        rates = {Fault.parse(name): 0.1 for name in ("500", "reset-after", "foreign", "cut-body")}
        plan = FaultPlan(rates=rates, foreign_rate=0.005)
        sim = simulator(faults=plan, latency=(2.0, 2.0), seed=seed)
        due: list[Exchange] = [sim.accept(post(), NOW + 30 * n) for n in range(40)]
        for exchange in sorted(due, key=lambda e: e.process_at):
            sim.process(exchange, exchange.process_at)
        return sim

    assert run(1).log == run(1).log != run(2).log
    assert run(1).foreign_uses == run(1).foreign_uses


def test_time_does_not_run_backwards() -> None:
    """A request processed with an older time counts at the latest one seen."""
    sim = simulator()
    ask(sim, post(), NOW + 10)
    ask(sim, post(), NOW)
    assert sim.log[1].counted_at == NOW + 10


def test_an_unknown_policy_is_refused() -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match="sliding, fixed, token_bucket, refusals_count, burst_1"):
        simulator(policy="strict")


def test_snapshot_ids_are_not_repeated() -> None:
    """Five lower-case letters each, all different."""
    sim = simulator(limit=200)
    ids = [read(ask(sim, post(BODY | {"displayName": str(n)})))["id"] for n in range(200)]
    assert len(set(ids)) == 200
    assert all(len(i) == 5 and i.isalpha() and i.islower() for i in ids)


# -- any request ----------------------------------------------------------------------------------------------

DOCUMENTED = {200, 201, 400, 401, 403, 404, 405, 406, 415, 429}
"""What the documents have of an API that is neither broken nor moved."""

SEGMENTS = st.sampled_from(
    ["tests", "202701", "snapshot", "tags", "alerts", "account-groups", "users", "current"]
)
METHODS = st.sampled_from(
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PURGE", "get", "X-1"]
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
QUERIES = st.dictionaries(
    st.sampled_from(["aid", "expand", "state", "max", "cursor", "window", "startDate", "endDate", "odd"]),
    TEXT
    | st.sampled_from(
        ["2001", "clear", "5", "7d", "2026-11-18T12:00:00Z", "2026-11-18T12:00:00.000000+0000"]
    ),
    max_size=4,
)
BODIES = st.binary(max_size=60) | st.dictionaries(
    st.sampled_from([*BODY, "more"]),
    st.none() | st.booleans() | st.integers() | TEXT | st.sampled_from([*BODY.values()]),
).map(lambda body: json.dumps(body).encode())


@given(
    method=METHODS,
    path=st.lists(SEGMENTS | TEXT, max_size=4).map("/".join),
    query=QUERIES,
    body=BODIES,
    known=st.booleans(),
)
def test_whatever_is_asked_is_answered_as_documented(
    method: str, path: str, query: dict[str, str], body: bytes, *, known: bool
) -> None:
    """A status that the documents have, and in a refusal a problem that says why."""
    headers = {
        "Authorization": f"Bearer {'token-1' if known else 'nobody'}",
        "Content-Type": "application/json",
    }
    request = Request(method=method, path=f"/v7/{path}", query=query, headers=headers, body=body)
    reply = ask(simulator(), request)
    assert reply.status in DOCUMENTED
    assert (reply.status == 401) is not known
    if reply.status >= 400:
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert read(reply)["detail" if known else "error_description"]
    if reply.status == 405:
        assert reply.headers["Allow"] in ("GET", "POST")
        assert reply.headers["Allow"] != method
