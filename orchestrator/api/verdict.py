"""The meaning of an answer to a snapshot request: what was created, for sure or perhaps. Pure.

Not created for sure: the first byte never left; 3xx but 303; 4xx but 408. Created for sure: 2xx whose JSON
has an id. A 201 without one was created too, but nobody knows as what, so it is uncertain and never sent
again; so is any 2xx that was cut. Another 2xx without an id is somebody else's answer, and so is a redirect,
or a web page where the API says no: a sign-in page, a captive network, a gateway. A 5xx may come from a gateway
before or after the API acted. Everything else is uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import NamedTuple

from orchestrator.api.response import (
    ASK_WHO_ANSWERS,
    Answer,
    as_object,
    describe_stranger,
    dig,
    explain,
    find_stranger,
    general_reset,
    instant,
    is_page,
    is_whole,
    number,
    parse_object,
    retry_after,
    sentence,
    text_id,
    text_of,
)
from orchestrator.core import Closing, Lease, Problem, Snapshot

_MOST_ROUND = 10**18  # no round, which is an instant in epoch seconds, is near it

_LOCKED = (
    "The token is wrong, expired or revoked, or its account is locked after repeated failures: "
    "check it before trying again."
)

_PAGE_LOCKED = (
    "If that page is not ThousandEyes', log in to the network or correct the proxy; otherwise the token is wrong, "
    "expired or revoked, or its account is locked: check it before trying again."
)

_FORBIDDEN = (
    "Either the token's user lacks the permission 'Create snapshot shares', or public snapshots are "
    "disabled in this region."
)


class Outcome(StrEnum):
    """The meaning of an answer, or of its absence, for the task."""

    CREATED = "created"
    UNSENT = "unsent"  # not a byte left
    QUOTA = "quota"  # 429: the snapshot limit, used up by somebody else
    GENERAL_LIMIT = "general_limit"  # 429: the limit on requests of any kind
    UNAUTHORIZED = "unauthorized"  # 401
    FORBIDDEN = "forbidden"  # 403
    REJECTED = "rejected"  # any other answer that says no for good
    SERVER_ERROR = "server_error"  # 5xx
    STRANGER = "stranger"  # somebody else answered in the API's place
    UNCERTAIN = "uncertain"  # it may have been created


class Verdict(NamedTuple):
    """An outcome with what it carries.

    `unreadable`: a 2xx without a readable id, never to be sent again. `retry_after` is what the server asked for,
    in seconds, at most an hour. `closing` is set for both kinds of 429. `stranger` says who seems to answer in the
    API's place: nothing more is to be sent there. `page`: a web page came, whoever sent it.
    """

    outcome: Outcome
    http_status: int | None = None
    snapshot: Snapshot | None = None
    problem: Problem | None = None
    closing: Closing | None = None
    retry_after: float | None = None
    unreadable: bool = False
    stranger: str = ""
    page: bool = False


def judge(answer: Answer, lease: Lease) -> Verdict:
    """Judge what this answer means for the task that the lease is for."""
    if not answer.sent:
        problem = Problem(title=answer.failure or "no connection", detail="Nothing was sent.")
        return Verdict(outcome=Outcome.UNSENT, problem=problem)
    if answer.status is None:
        problem = Problem(title="No answer", detail=sentence(answer.failure) + " It may have been created.")
        return Verdict(outcome=Outcome.UNCERTAIN, problem=problem)
    if 200 <= answer.status < 300:
        return _judge_success(answer, answer.status)
    if find_stranger(answer):
        return _judge_stranger(answer, answer.status)
    outcome, wait, page = (
        outcome_of(answer.status, answer.headers),
        retry_after(answer.headers),
        is_page(answer),
    )
    return Verdict(
        outcome=outcome,
        http_status=answer.status,
        problem=explain(answer, hint=_hint(answer.status, lease, page=page)),
        closing=_closing(outcome, answer.headers, wait),
        retry_after=wait,
        page=page,
    )


def outcome_of(status: int, headers: Mapping[str, str]) -> Outcome:
    """The outcome of an answer that is no 2xx."""
    if status == 429:
        spent = number(headers.get("x-organization-rate-limit-remaining")) == 0
        return Outcome.GENERAL_LIMIT if spent else Outcome.QUOTA
    if status in (303, 408) or not 300 <= status < 600:
        return Outcome.UNCERTAIN
    if status >= 500:
        return Outcome.SERVER_ERROR
    return {401: Outcome.UNAUTHORIZED, 403: Outcome.FORBIDDEN}.get(status, Outcome.REJECTED)


def parse_snapshot(body: bytes) -> Snapshot | None:
    """The snapshot that a body describes; None when it is no JSON or has no id. Any other field may be missing."""
    found = parse_object(body)
    if found is None or (key := text_id(found.get("id"))) is None:
        return None
    test = as_object(found.get("test"))
    saved = test.get("savedEvent")
    return Snapshot(
        id=key,
        event_id=text_id(found.get("testId")),
        link=text_of(dig(found, "_links", "appLink", "href")),
        test_name=text_of(test.get("testName")),
        saved_event=saved if isinstance(saved, bool) else None,
        shared_at=instant(found.get("shareDate")),
        start_round=_round_id(found.get("startRoundId")),
        end_round=_round_id(found.get("endRoundId")),
        source_test_id=text_id(found.get("sourceTestId")),
    )


def _judge_success(answer: Answer, status: int) -> Verdict:
    snapshot = parse_snapshot(answer.body)
    if snapshot is not None:
        return Verdict(outcome=Outcome.CREATED, http_status=status, snapshot=snapshot)
    if status != HTTPStatus.CREATED and is_whole(answer):
        return _judge_stranger(answer, status)
    if status == HTTPStatus.CREATED:
        title = "Created, answer unreadable"
        detail = "The API says that the snapshot was made, but the answer has no readable id: look for it in the web app."
    else:
        title = "The answer was cut off"
        detail = f"It began as a success ({status}), and the snapshot may have been made: look for it in the web app."
    if answer.failure:
        detail = f"{sentence(answer.failure)} {detail}"
    problem = Problem(title=title, detail=detail)
    stranger = "" if status == HTTPStatus.CREATED else describe_stranger(answer)
    return Verdict(
        outcome=Outcome.UNCERTAIN, http_status=status, problem=problem, unreadable=True, stranger=stranger
    )


def _judge_stranger(answer: Answer, status: int) -> Verdict:
    """An answer that the API never gives; before a 2xx or a 303 the request may have gone through all the same."""
    who = describe_stranger(answer)
    made = (
        "It may have been made all the same."
        if status < 300 or status == HTTPStatus.SEE_OTHER
        else "Nothing was made."
    )
    problem = Problem(title="Not the API's answer", detail=f"{sentence(who)} {made} {ASK_WHO_ANSWERS}")
    outcome = Outcome.UNCERTAIN if status == HTTPStatus.SEE_OTHER else Outcome.STRANGER
    return Verdict(outcome=outcome, http_status=status, problem=problem, stranger=who, page=is_page(answer))


def _closing(outcome: Outcome, headers: Mapping[str, str], wait: float | None) -> Closing | None:
    if outcome not in (Outcome.QUOTA, Outcome.GENERAL_LIMIT):
        return None
    if wait is not None:
        return Closing(seconds=wait, doubles=False)
    if outcome is Outcome.GENERAL_LIMIT:
        return Closing(seconds=general_reset(headers), doubles=False)
    return Closing()


def _hint(status: int, lease: Lease, *, page: bool) -> str:
    task = lease.task
    group = f"account group {task.account_group}" if task.account_group else "the token's own account group"
    hints = {
        401: _PAGE_LOCKED if page else _LOCKED,
        403: _FORBIDDEN,
        404: f"Either test {task.test_id} does not exist, or it is not in {group}, where it was asked for.",
        408: "The request may have been carried out all the same.",
        429: "Nothing was made.",
    }
    return hints.get(status, "")


def _round_id(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if abs(value) < _MOST_ROUND else None
