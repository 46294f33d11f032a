"""A task's life: what the end of an attempt makes of its task (the law is in docs/laws.md).

Pure decisions: the worker acts on them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from random import Random

from orchestrator.api import ConfiguredTest, Outcome, Verdict
from orchestrator.core import (
    Closing,
    Event,
    Lease,
    OnUncertain,
    Problem,
    Reason,
    Result,
    Run,
    Settlement,
    Snapshot,
    Status,
)
from orchestrator.ratelimit import Backoff
from orchestrator.store import Store
from orchestrator.worker import notices
from orchestrator.worker.organization import ServedOrganization

CLOCK_TOLERANCE = 2.0
"""Seconds by which a saved event's `createdDate` (whole seconds, the API's clock) may precede its grant."""


def make_settlement(
    verdict: Verdict, lease: Lease, backoff: Backoff, *, now: float, draw: Random
) -> Settlement:
    """The settlement of an attempt that was sent; `now` is store time."""
    match verdict.outcome:
        case Outcome.CREATED:
            return _final(Status.CREATED, verdict, lease)
        case Outcome.QUOTA | Outcome.GENERAL_LIMIT:
            return _requeued(verdict, lease, closing=verdict.closing or Closing())
        case Outcome.UNAUTHORIZED:
            return _requeued(verdict, lease)
        case Outcome.SERVER_ERROR:
            return _after_server_error(verdict, lease, backoff, now=now, draw=draw)
        case Outcome.UNCERTAIN:
            return Settlement(
                status=Status.UNCERTAIN,
                answered=verdict.unreadable,
                http_status=verdict.http_status,
                problem=verdict.problem,
                duplicate_possible=lease.duplicate_possible,
            )
        case _:
            return _final(Status.FAILED, verdict, lease)


def _final(status: Status, verdict: Verdict, lease: Lease) -> Settlement:
    return Settlement(
        status=status,
        answered=True,
        http_status=verdict.http_status,
        problem=verdict.problem,
        snapshot=verdict.snapshot,
        duplicate_possible=lease.duplicate_possible,
    )


def _requeued(verdict: Verdict, lease: Lease, closing: Closing | None = None) -> Settlement:
    """Nothing was made and it was no attempt: back to the queue."""
    return Settlement(
        status=Status.QUEUED,
        answered=True,
        counts=False,
        http_status=verdict.http_status,
        problem=verdict.problem,
        duplicate_possible=lease.duplicate_possible,
        closing=closing,
    )


def _after_server_error(
    verdict: Verdict, lease: Lease, backoff: Backoff, *, now: float, draw: Random
) -> Settlement:
    """A gateway may answer 5xx after the origin has counted, and made, the snapshot: a duplicate is possible."""
    first = lease.first_sent_at if lease.first_sent_at is not None else lease.granted_at
    wait = backoff.after(lease.tries + 1, first_sent=first, now=now, draw=draw)
    if wait is not None and verdict.retry_after is not None:
        wait = max(wait, verdict.retry_after)
    return Settlement(
        status=Status.FAILED if wait is None else Status.QUEUED,
        answered=False,
        retry_in=wait or 0.0,
        http_status=verdict.http_status,
        problem=verdict.problem,
        duplicate_possible=True,
    )


def find_evidence(
    lease: Lease, result: Result, tests: Iterable[ConfiguredTest], known: Collection[str], *, ahead: float
) -> Snapshot | None:
    """The saved event that a lost answer left behind, if the list of tests shows it; its absence proves nothing.

    It is ours if the store does not know it, it was created after the attempt's grant (by the API's
    calendar, `ahead` seconds ahead of store time, whatever calendars showed then) and it has our display name.
    """
    title = lease.task.title(lease.resends)
    earliest = lease.granted_at + ahead - CLOCK_TOLERANCE
    for test in tests:
        fresh = test.created_at is not None and test.created_at >= earliest
        if test.saved_event and test.name == title and fresh and test.id not in known:
            return Snapshot(id=test.id, event_id=test.id, test_name=result.task.test_name, saved_event=True)
    return None


def may_resend(lease: Lease, result: Result) -> bool:
    """True if an uncertain task is sent once more: by policy, once, and never after a 2xx."""
    answered = result.http_status is not None and 200 <= result.http_status < 300
    return lease.task.on_uncertain is OnUncertain.RESEND and lease.resends == 0 and not answered


def unexpected_snapshot(expected: bool | None, snapshot: Snapshot) -> Problem | None:
    """The problem with a first answer that contradicts `expect_saved_event`, if it does."""
    if expected is None or snapshot.saved_event is None or snapshot.saved_event == expected:
        return None
    came, wanted = (
        ("a saved event", "a share link") if snapshot.saved_event else ("a share link", "a saved event")
    )
    return Problem(
        title=f"a snapshot came back as {came}, the job file expects {wanted}",
        detail="nothing more is sent for this organization: check the snapshot, then is_public and expect_saved_event",
    )


def stop_on_unexpected_snapshots(
    store: Store, run: Run, organizations: Mapping[str, ServedOrganization]
) -> Iterator[Event]:
    """Stop each organization of which the run refers to a snapshot that is not what its job file expects."""
    for result in store.views.results(run.id):
        served = organizations.get(result.task.organization)
        if served is None or served.stopped is not None or result.snapshot is None:
            continue
        wrong = unexpected_snapshot(result.task.expect_saved_event, result.snapshot)
        if wrong is not None:
            served.stop(Reason.UNEXPECTED_SNAPSHOT, f"{wrong.title}; {wrong.detail}")
            yield notices.organization_stop(served)
