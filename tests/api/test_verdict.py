"""What answers mean: what was created for sure, what was not for sure, and what nobody knows."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.response import Answer, explain
from orchestrator.api.verdict import Outcome, Verdict, judge, parse_snapshot
from orchestrator.core.jobs import RetryRules, Window
from orchestrator.core.tasks import (
    SNAPSHOT_LIFETIME,
    Closing,
    Lease,
    Result,
    Settlement,
    Snapshot,
    Status,
    Task,
)
from orchestrator.ratelimit.backoff import Backoff
from orchestrator.worker.settlement import make_settlement

DATE = "Mon, 23 Nov 2026 07:00:00 GMT"
DATE_EPOCH = 1795417200
TASK = Task(
    organization="https://api.thousandeyes.com/v7#id=1",
    account_group="1234",
    test_id="202701",
    window=Window(start=0, end=3600),
    is_public=False,
    display_name="x",
    job_name="j",
)
LEASE = Lease(task=TASK, run_id="r", owner="o", attempt=1, token=0, granted_at=0.0, granted_boot=0.0)


def verdict(status: int | None, body: object = b"", *, failure: str | None = None, **headers: str) -> Verdict:
    """The judgement on an answer; underscores in header names stand for hyphens."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return judge(Answer(sent=True, status=status, headers=named, body=raw, failure=failure), LEASE)


def settled(one: Verdict) -> Settlement:
    """What is written of the first attempt."""
    return make_settlement(one, LEASE, Backoff(rules=RetryRules()), now=0.0, draw=Random(0))


def detail(one: Verdict) -> str:
    assert one.problem is not None
    return one.problem.detail


# What is known of the snapshot.


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (None, Outcome.UNCERTAIN),
        (100, Outcome.UNCERTAIN),
        (103, Outcome.UNCERTAIN),
        (201, Outcome.UNCERTAIN),  # without an id
        (200, Outcome.UNCERTAIN),  # with nothing that says where it ends
        (204, Outcome.STRANGER),
        (301, Outcome.STRANGER),
        (302, Outcome.STRANGER),
        (303, Outcome.UNCERTAIN),
        (304, Outcome.STRANGER),
        (307, Outcome.STRANGER),
        (308, Outcome.STRANGER),
        (400, Outcome.REJECTED),
        (401, Outcome.UNAUTHORIZED),
        (403, Outcome.FORBIDDEN),
        (404, Outcome.REJECTED),
        (408, Outcome.UNCERTAIN),
        (415, Outcome.REJECTED),
        (429, Outcome.QUOTA),
        (499, Outcome.REJECTED),
        (500, Outcome.SERVER_ERROR),
        (502, Outcome.SERVER_ERROR),
        (503, Outcome.SERVER_ERROR),
        (599, Outcome.SERVER_ERROR),
        (600, Outcome.UNCERTAIN),
        (999, Outcome.UNCERTAIN),
    ],
)
def test_a_status_has_one_meaning(status: int | None, outcome: Outcome) -> None:
    """The table of the rules, one by one."""
    assert verdict(status).outcome is outcome


@given(
    status=st.one_of(st.none(), st.integers(100, 999)),
    body=st.binary(max_size=40),
    failure=st.none() | st.text(),
)
def test_nothing_is_created_without_a_2xx_and_an_id(
    status: int | None, body: bytes, failure: str | None
) -> None:
    """Whatever comes back, `created` needs both; a problem is told for everything else."""
    one = verdict(status, body, failure=failure)
    assert (one.outcome is Outcome.CREATED) == (one.snapshot is not None)
    assert one.outcome is not Outcome.CREATED or (status is not None and 200 <= status < 300)
    assert (one.problem is None) == (one.outcome is Outcome.CREATED)
    assert one.problem is None or one.problem.title
    assert one.unreadable == (status is not None and 200 <= status < 300 and one.outcome is Outcome.UNCERTAIN)


def test_unsent_is_unsent_whatever_else_is_said() -> None:
    """The flag decides; the reason becomes the title."""
    one = judge(Answer(sent=False, failure="connection refused by 127.0.0.1:1"), LEASE)
    assert (one.outcome, one.http_status) == (Outcome.UNSENT, None)
    assert one.problem is not None
    assert one.problem.title == "connection refused by 127.0.0.1:1"


def test_no_answer_is_uncertain_and_says_why() -> None:
    """A lost answer: the reason, and that the snapshot may exist."""
    one = verdict(None, failure="no answer within 60 s")
    assert detail(one) == "No answer within 60 s. It may have been created."
    assert not settled(one).answered


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", {"id": None}, {"id": ""}, {"id": True}, {"id": []}]
)
def test_a_2xx_without_an_id_is_created_but_unreadable(body: object) -> None:
    """It is never to be sent again, and the request counts as answered."""
    one = verdict(201, body)
    assert (one.outcome, one.unreadable, settled(one).answered, one.snapshot) == (
        Outcome.UNCERTAIN,
        True,
        True,
        None,
    )
    assert "no readable id" in detail(one)


@pytest.mark.parametrize(
    "body", [b"", b"<title>Sign in</title>", {"error": "login"}, [], {"id": None}, b"Welcome"]
)
def test_a_whole_success_that_is_not_the_api_s_is_somebody_else_s(body: object) -> None:
    """It counts as a 502 would: not settled, looked for, sent again, flagged."""
    one = verdict(200, body, content_length="9")
    assert (one.outcome, one.unreadable) == (Outcome.STRANGER, False)
    written = settled(one)
    assert (written.status, written.answered, written.look_first) == (Status.QUEUED, False, True)
    assert written.duplicate_possible


def test_the_last_of_all_attempts_that_somebody_else_answers_has_failed() -> None:
    """They are counted over all starts, however long ago the first one was."""
    lease = replace(LEASE, tries=6, first_sent_at=-1e6)
    page = judge(Answer(sent=True, status=200, body=b"<h1>x"), lease)
    for tries, status in ((6, Status.QUEUED), (7, Status.FAILED)):
        one = replace(lease, tries=tries)
        written = make_settlement(page, one, Backoff(rules=RetryRules()), now=0.0, draw=Random(0))
        assert (written.status, written.duplicate_possible) == (status, True)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413])
def test_a_page_where_the_api_refuses_in_json_is_somebody_else_s(status: int) -> None:
    """Nothing was made for sure; the reason quotes the page and no secret in it, and is short."""
    page = b"<title>Blocked token=" + b"s3cr3t" * 9 + b" " + b"x" * 9000 + b"</title>"
    one = verdict(status, page, server="proxy")
    assert (one.outcome, settled(one).answered, settled(one).look_first) == (Outcome.STRANGER, True, False)
    assert "a web page titled 'Blocked" in one.stranger
    assert "server proxy" in one.stranger
    assert "s3cr3t" not in one.stranger
    assert len(one.stranger) < 250


@pytest.mark.parametrize(
    ("status", "outcome"), [(401, Outcome.UNAUTHORIZED), (429, Outcome.QUOTA), (408, Outcome.UNCERTAIN)]
)
def test_a_page_that_refuses_the_token_or_the_rate_is_obeyed(status: int, outcome: Outcome) -> None:
    """Whoever sends it: the careful answer is the same, and it is said that it does not look like the API's."""
    one = verdict(status, b"<title>Sign in</title>")
    assert (one.outcome, one.stranger, one.page) == (outcome, "", True)
    assert "A web page came back" in detail(one)


def test_a_cut_2xx_is_unreadable_and_says_that_it_was_cut() -> None:
    """The status line is enough to know that it was made."""
    one = verdict(201, b'{"id": "wd', failure="the answer was cut off")
    assert one.unreadable
    assert detail(one).startswith("The answer was cut off. The API says that the snapshot was made")


@pytest.mark.parametrize(
    ("status", "answered"), [(201, True), (307, True), (303, False), (408, False), (429, True), (502, False)]
)
def test_only_a_settling_answer_counts_as_one(status: int, answered: bool) -> None:
    """The token's return is shortened by 2xx, 3xx and 4xx, but for those that settle nothing."""
    assert settled(verdict(status, {"id": "x"})).answered is answered


# The snapshot.

FULL = {
    "id": "wdiac",
    "sourceTestId": "202701",
    "testId": "281474976710706",
    "displayName": "x",
    "startRoundId": 1538784000,
    "endRoundId": "1538787600",
    "shareDate": "2023-06-06T00:00:00Z",
    "test": {"savedEvent": False, "testName": "Checkout EU", "type": "http-server"},
    "_links": {"appLink": {"href": "https://app.thousandeyes.com/x?y=1"}, "self": {"href": "https://api"}},
}


def test_a_full_snapshot_is_read() -> None:
    """Every field that is used, the link as it came."""
    one = verdict(201, FULL)
    assert one.outcome is Outcome.CREATED
    assert one.snapshot == Snapshot(
        id="wdiac",
        event_id="281474976710706",
        link="https://app.thousandeyes.com/x?y=1",
        test_name="Checkout EU",
        saved_event=False,
        shared_at=1686009600.0,
        start_round=1538784000,
        end_round=1538787600,
        source_test_id="202701",
    )


@pytest.mark.parametrize("name", [name for name in FULL if name != "id"])
@pytest.mark.parametrize(
    "value", [None, 7, "x", [], {}, [1], {"appLink": None}, {"href": 3}, {"appLink": {"href": 3}}, True]
)
def test_every_field_but_the_id_may_be_anything(name: str, value: object) -> None:
    """A field of another outcome is as good as missing."""
    snapshot = parse_snapshot(json.dumps(FULL | {name: value}).encode())
    assert snapshot is not None
    assert snapshot.id == "wdiac"


def test_an_id_alone_is_a_snapshot_and_may_be_a_number() -> None:
    """Ids come as text or as numbers."""
    assert parse_snapshot(b'{"id": 12}') == Snapshot(id="12")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.sampled_from(list(FULL)), c),
    )
)
def test_no_json_breaks_the_reading(value: object) -> None:
    """Whatever JSON comes back is read without an error."""
    parse_snapshot(json.dumps(value).encode())
    explain(Answer(sent=True, status=400, body=json.dumps(value).encode()))


@pytest.mark.parametrize("odd", ["\ud800", "\x00"])
def test_what_no_store_takes_is_replaced_in_every_text(odd: str) -> None:
    """Half a surrogate pair, or a NUL, in any text of an answer: an id with one is still an id."""
    body = {
        "id": f"a{odd}b",
        "testId": odd,
        "test": {"testName": f"{odd}x"},
        "_links": {"appLink": {"href": odd}},
    }
    made = parse_snapshot(json.dumps(body).encode())
    assert made is not None
    assert (made.id, made.event_id, made.test_name, made.link) == ("a\ufffdb", "\ufffd", "\ufffdx", "\ufffd")
    found = explain(Answer(sent=True, status=400, body=json.dumps({"title": odd, "errors": [odd]}).encode()))
    assert (found.title, found.detail) == ("\ufffd", "\ufffd.")


def test_a_pair_of_surrogates_is_a_character() -> None:
    """JSON writes what is beyond 16 bits as two escapes."""
    made = parse_snapshot(rb'{"id": "\ud83d\ude00"}')
    assert made is not None
    assert made.id == "\N{GRINNING FACE}"


def test_a_round_that_no_clock_has_is_unknown() -> None:
    """It would not fit into a column of numbers."""
    made = parse_snapshot(json.dumps({"id": "r", "startRoundId": 10**30, "endRoundId": 1795433001}).encode())
    assert made is not None
    assert (made.start_round, made.end_round) == (None, 1795433001)


@pytest.mark.parametrize("shared", [1795433001000.0, 1e300, float("nan"), -5.0])
def test_an_impossible_moment_in_an_old_store_does_not_keep_it_from_being_read(shared: float) -> None:
    """The expiry counts from when the answer came instead."""
    result = Result(
        task=TASK,
        status=Status.CREATED,
        snapshot=Snapshot(id="ms", shared_at=shared),
        settled_wall=DATE_EPOCH,
    )
    assert result.expires_at == DATE_EPOCH + SNAPSHOT_LIFETIME


# 429.


def test_a_plain_429_closes_for_the_limits_own_period() -> None:
    """No header is documented for the snapshot limit: the wait is ours, and doubles."""
    one = verdict(429, X_Organization_Rate_Limit_Remaining="17", X_Organization_Rate_Limit_Reset="30")
    assert (one.outcome, one.closing) == (Outcome.QUOTA, Closing(seconds=None, doubles=True))
    assert "Nothing was made." in detail(one)


def test_the_general_limit_closes_until_its_reset() -> None:
    """With nothing remaining, `Reset` is used: a date relative to the server's own clock."""
    spent: dict[str, Any] = {"X_Organization_Rate_Limit_Remaining": "0", "Date": DATE}
    one = verdict(429, X_Organization_Rate_Limit_Reset=str(DATE_EPOCH + 42), **spent)
    assert (one.outcome, one.closing) == (Outcome.GENERAL_LIMIT, Closing(seconds=42.0, doubles=False))


@pytest.mark.parametrize("remaining", ["0", "9"])
def test_retry_after_replaces_both_waits(remaining: str) -> None:
    """What the server asks for goes first, and does not double."""
    one = verdict(
        429,
        Retry_After="90",
        X_Organization_Rate_Limit_Remaining=remaining,
        X_Organization_Rate_Limit_Reset="5",
    )
    assert one.closing == Closing(seconds=90.0, doubles=False)


def test_retry_after_of_a_503_is_told_but_closes_nothing() -> None:
    """Maintenance: the retry may wait for it."""
    one = verdict(503, Retry_After="90")
    assert (one.retry_after, one.closing) == (90.0, None)


# Problems.


def test_a_400_lists_its_fields() -> None:
    """They stand in errors[] of problem+json."""
    body = {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "Invalid window",
        "errors": [{"code": "x", "field": "endDate", "message": "must be past"}, {"code": "odd"}, None, 3],
    }
    problem = verdict(400, body).problem
    assert problem is not None
    assert (problem.title, problem.detail) == ("Bad Request", "Invalid window.")
    assert problem.fields == (("endDate", "must be past"), ("odd", "odd"))


def test_a_401_has_its_own_form() -> None:
    """It has error and error_description; what to do is added."""
    problem = verdict(401, {"error": "invalid_token", "error_description": "Invalid access token"}).problem
    assert problem is not None
    assert problem.title == "invalid_token"
    assert problem.detail.startswith("Invalid access token. The token is wrong, expired or revoked")


def test_the_legacy_form_is_read() -> None:
    """That of timestamp, httpStatus, errors[] and path."""
    one = verdict(400, {"timestamp": 1, "httpStatus": 400, "errors": ["first", "second"], "path": "/v7"})
    assert one.problem is not None
    assert (one.problem.title, one.problem.detail) == ("Bad request", "First; second.")


def test_a_gateways_page_is_a_title() -> None:
    """HTML: its title without tags, and that it was not the API."""
    one = verdict(
        502, b"<html><head><TITLE>502 <b>Bad</b>\n Gateway &amp; more</TITLE></head><body>long</body></html>"
    )
    assert one.problem is not None
    assert one.problem.title == "502 Bad Gateway & more"
    assert "not the API" in one.problem.detail


@pytest.mark.parametrize(
    ("body", "title"),
    [(b"", "Service unavailable"), (b"<", "Service unavailable"), (b"busy", "Service unavailable")],
)
def test_an_answer_without_a_title_gets_one(body: bytes, title: str) -> None:
    """Empty bodies, broken pages and plain text."""
    one = verdict(503, body)
    assert one.problem is not None
    assert one.problem.title == title


def test_a_403_shows_both_meanings() -> None:
    """The status alone does not tell which."""
    text = detail(verdict(403, {"title": "Forbidden", "detail": "No access"}))
    assert text.startswith("No access. ")
    assert "Create snapshot shares" in text
    assert "region" in text


def test_a_404_names_the_account_group() -> None:
    """A wrong id, or an id of another account group."""
    assert detail(verdict(404)) == (
        "Either test 202701 does not exist, or it is not in account group 1234, where it was asked for."
    )


def test_a_redirect_names_the_host_and_no_query() -> None:
    """The query of an address may hold secrets."""
    text = detail(verdict(307, Location="https://user:pw@login.example/sso?ticket=abc"))
    assert "login.example/sso" in text
    assert "abc" not in text
    assert "pw" not in text
