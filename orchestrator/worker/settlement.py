"""A task's life: decisions about what the end of an attempt makes of its task (the law is in docs/laws.md)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from random import Random
from typing import Any, NamedTuple

from orchestrator.api import ConfiguredTest, Outcome, Verdict
from orchestrator.core import (
    MOST_RESENDS,
    Event,
    Lease,
    OnUncertain,
    PossibleEvent,
    Reason,
    Result,
    Run,
    Settlement,
    Snapshot,
    Status,
    Task,
)
from orchestrator.ratelimit import Backoff
from orchestrator.store import Views
from orchestrator.worker import notices
from orchestrator.worker.organization import ServedOrganization

CLOCK_TOLERANCE = 2.0
"""Seconds by which a saved event's `createdDate` (whole seconds, the API's clock) may precede its grant."""


def make_settlement(
    verdict: Verdict, lease: Lease, backoff: Backoff, *, now: float, draw: Random, permitted: bool = True
) -> Settlement:
    """The settlement of an attempt that was sent; `now` is store time.

    After a refusal nothing was made and it was no attempt: the task goes back to the queue. A 403 is the task's own
    only where snapshots of its kind are `permitted`, as one that was made shows; till then it waits for what others get.
    """
    settle = partial(
        Settlement,
        answered=True,
        http_status=verdict.http_status,
        problem=verdict.problem,
        duplicate_possible=lease.duplicate_possible,
    )
    match verdict.outcome:
        case Outcome.CREATED:
            return settle(status=Status.CREATED, snapshot=verdict.snapshot)
        case Outcome.QUOTA | Outcome.GENERAL_LIMIT | Outcome.UNAUTHORIZED:
            return settle(status=Status.QUEUED, counts=False, closing=verdict.closing)
        case Outcome.FORBIDDEN if not permitted:
            return settle(status=Status.QUEUED, retry_in=lease.limit.hold)
        case Outcome.SERVER_ERROR | Outcome.STRANGER:
            return settle(**_retry_fields(verdict, lease, backoff, now=now, draw=draw))
        case Outcome.UNCERTAIN:
            return settle(status=Status.UNCERTAIN, answered=verdict.http_status == HTTPStatus.CREATED)
        case _:
            return settle(status=Status.FAILED)


def _retry_fields(
    verdict: Verdict, lease: Lease, backoff: Backoff, *, now: float, draw: Random
) -> dict[str, Any]:
    """The fields of a settlement after which the task is sent again, or has failed when no attempt is left.

    Unless its answer says that nothing was made (a 3xx, a 4xx), the API may have got the request, counted it and
    made the snapshot: a duplicate is possible. Somebody else's answer is one of the attempts of all starts, however
    long ago the first one was: the organization stops after it, until a person has seen to that.
    """
    stranger = verdict.outcome is Outcome.STRANGER
    refused = 300 <= (verdict.http_status or 0) < 500
    first = lease.granted_at if lease.first_sent_at is None else lease.first_sent_at
    wait = backoff.after(lease.tries + 1, first_sent=now if stranger else first, now=now, draw=draw)
    return {
        "status": Status.FAILED if wait is None else Status.QUEUED,
        "answered": refused,
        "retry_in": 0.0 if wait is None else max(wait, verdict.retry_after or 0.0),
        "look_first": stranger and not refused and wait is not None,
        "duplicate_possible": lease.duplicate_possible or not refused,
    }


class Evidence(NamedTuple):
    """What a list of tests says of a lost answer: the saved event it left behind, or one that may be it.

    `twice`: more than one is there that only requests for this very snapshot can have made.
    """

    snapshot: Snapshot | None = None
    possible: PossibleEvent | None = None
    twice: bool = False


def find_evidence(
    lease: Lease, result: Result, tests: Iterable[ConfiguredTest], known: Collection[str], *, ahead: float
) -> Evidence:
    """The evidence of what became of a lost answer; that there is none proves nothing.

    A saved event is ours if the store does not know it, it has our display name, and it either is dated after the
    attempt's grant (by the API's calendar, `ahead` seconds ahead of store time, whatever calendars showed then), or
    has our key in its name and was not there before: a server may date it as the test.
    """
    title, alone = lease.task.title(lease.resends), lease.task.is_named_by_key
    earliest = lease.granted_at + ahead - CLOCK_TOLERANCE
    alike = [test for test in tests if test.saved_event and test.name == title and test.id not in known]
    new = alone and result.listed is False
    ours = [test for test in alike if new or (test.created_at is not None and test.created_at >= earliest)]
    if ours:
        key, name = ours[0].id, result.task.test_name
        made = Snapshot(id=key, event_id=key, test_name=name, saved_event=True)
        return Evidence(snapshot=made, twice=alone and len(ours) > 1)
    if alike:
        return Evidence(possible=PossibleEvent(id=alike[0].id, created_at=alike[0].created_at))
    return Evidence()


def may_resend(lease: Lease, result: Result) -> bool:
    """True if a task is sent once more when nothing is found.

    One that somebody else answered, in any case; an uncertain one by policy, once, and never after a 2xx.
    """
    if result.status is Status.QUEUED:
        return True
    answered = result.http_status is not None and 200 <= result.http_status < 300
    return lease.task.on_uncertain is OnUncertain.RESEND and lease.resends < MOST_RESENDS and not answered


def unexpected_snapshot(task: Task, snapshot: Snapshot) -> str | None:
    """The reason to send nothing more for an organization after a snapshot that is not what was asked for.

    It is another test's, or contradicts `expect_saved_event`.
    """
    returned = snapshot.source_test_id
    if returned is not None and returned != task.test_id:
        return (
            f"a snapshot of test {returned} came back where test {task.test_id} was asked for; nothing more is sent "
            "for this organization: check the snapshot, then the id and its account group"
        )
    expected = task.expect_saved_event
    if expected is None or snapshot.saved_event is None or snapshot.saved_event == expected:
        return None
    came, wanted = (
        ("a saved event", "a share link") if snapshot.saved_event else ("a share link", "a saved event")
    )
    return (
        f"a snapshot came back as {came}, the job file expects {wanted}; nothing more is sent for this "
        "organization: check the snapshot, then is_public and expect_saved_event"
    )


def stop_on_unexpected_snapshots(
    views: Views, run: Run, organizations: Mapping[str, ServedOrganization]
) -> Iterator[Event]:
    """Stop each organization of which the run refers to a snapshot that is not what was asked for."""
    for result in views.results(run.id, settled_since=-math.inf):
        served = organizations.get(result.task.organization)
        if served is None or served.stopped is not None or result.snapshot is None:
            continue
        wrong = unexpected_snapshot(result.task, result.snapshot)
        if wrong is not None:
            served.stop(Reason.UNEXPECTED_SNAPSHOT, wrong)
            yield notices.organization_stop(served)
