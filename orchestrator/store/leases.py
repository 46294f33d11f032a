"""A task's life after its grant (which is in `queue`) and up to its end, fenced by the lease: each function is the inside of one transaction.

Whoever changes a task or a token has locked the row of its organization's bucket, and reads everything that counts after that.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.core import Lease, LeaseLost, Problem, Settlement, Status
from orchestrator.ratelimit import IN_SINCE_EVER, Gate, close_gate, gate_after_probe, settled_return
from orchestrator.store import history_sql, organizations, sql
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import (
    find_phase,
    from_problem,
    from_snapshot,
    probing_lease,
    to_gate,
    to_limit,
)

IN_FLIGHT = (Status.LEASED, Status.SENDING)

UNHEARD = Settlement(
    status=Status.UNCERTAIN,
    answered=False,
    problem=Problem(
        title="the process that sent the request died before it stored an answer",
        detail="the snapshot may or may not have been made: look for it in the web app, or `tesnap settle`",
    ),
)
"""The end of an attempt whose process died after its first byte."""

AFRESH: Mapping[str, object] = {
    "status": Status.QUEUED.value,
    "tries": 0,
    "first_sent_at": None,
    "retry_at": 0.0,
    "owner": None,
    "evidence_due": None,
    "settled_wall": None,
    "settled_at": None,
    "http_status": None,
    "problem": None,
    "possible_event": None,
}
"""A failed task that is tried again begins anew; that a duplicate is possible is not forgotten."""


# -- the fence ---------------------------------------------------------------------------------------------


def lock_leased(tx: Transaction, lease: Lease, *states: Status) -> Row:
    """The task that the lease still holds, its bucket locked; raises LeaseLost."""
    return lock_task(tx, *states, owner=lease.owner, attempt=lease.attempt, key=lease.task.key)


def lock_task(tx: Transaction, *states: Status, **fence: object) -> Row:
    """The task with this owner, attempt and key in one of these states, its bucket locked; raises LeaseLost.

    Looked up again once the lock is there: meanwhile it may have changed, or gone to another bucket.
    """
    task = tx.row(sql.LEASED_TASK, **fence)
    locked = None
    while task is not None and task["bucket"] != locked:
        locked = task["bucket"]
        tx.row(sql.LOCK_BUCKET, bucket=locked)
        task = tx.row(sql.LEASED_TASK, **fence)
    if task is None or Status(task["status"]) not in states:
        raise LeaseLost(f"attempt {fence['attempt']} of task {fence['key']} is no longer this process's")
    return task


def save_task(tx: Transaction, task: Row, now: float, **changes: object) -> Row:
    """Change a task, its place in the turns of all runs that refer to it, and its bucket's version."""
    after = {**task, **changes}
    seen = {"seen_attempt": task["attempt"], "seen_status": task["status"]}
    if tx.change(sql.SAVE_TASK, **after, **seen) != 1:
        raise LeaseLost(f"task {task['key'][:6]} was changed by another process")
    phase, until = find_phase(after, now)
    tx.change(sql.PLACE_TASK, task=task["id"], phase=int(phase), until=until)
    tx.change(sql.TOUCH_BUCKET, organization=task["organization"])
    if Status(task["status"]).settled:
        tx.change(history_sql.FORGET_COUNTS, task=task["id"])
    return after


def queue_afresh(tx: Transaction, task: Row, *, now: float, epoch: float, **changes: object) -> Row:
    """Queue a task as if it had never been attempted."""
    return save_task(tx, task, now, **{**AFRESH, "queued_wall": epoch, **changes})


# -- its ends ----------------------------------------------------------------------------------------------


def settle(tx: Transaction, lease: Lease, settlement: Settlement, *, jitter: float) -> None:
    """Write what an attempt comes to: the task, its token's return and the gate; raises LeaseLost."""
    late = (Status.UNCERTAIN,) if settlement.answered else ()
    task = lock_leased(tx, lease, *IN_FLIGHT, *late)
    if Status(task["status"]) is Status.UNCERTAIN:
        task = _reopen(tx, task, settlement)
    now, wall = tx.now(), tx.epoch()
    gate = _settle_gate(tx, task, settlement, jitter, now=now, wall=wall)
    if settlement.answered:
        _return_token(tx, task, settled_return(to_limit(task["lease_limit"]), now), now=now, wall=wall)
    save_task(tx, task, now, **_changes(task, settlement, gate, now=now, wall=wall))


def _reopen(tx: Transaction, task: Row, settlement: Settlement) -> Row:
    """A task whose lease others had ended, as it was before that: its answer is here after all."""
    if not settlement.status.settled:
        tx.change(sql.REVIVE_RUN, run=task["lease_run"])
    return {
        **task,
        "tries": task["tries"] - 1,
        "evidence_due": None,
        "settled_at": None,
        "settled_wall": None,
    }


def _settle_gate(
    tx: Transaction, task: Row, settlement: Settlement, jitter: float, *, now: float, wall: float
) -> Gate | None:
    """Close the gate after a 429, open it after its probe was answered."""
    organization = tx.row(sql.ORGANIZATION, organization=task["organization"]) or {}
    gate = after = to_gate(organization)
    if settlement.closing is not None:
        limit, granted_at = to_limit(task["lease_limit"]), task["granted_at"]
        after = close_gate(gate, settlement.closing, limit, granted_at=granted_at, now=now, jitter=jitter)
    elif _is_probe(organization, task):
        after = gate_after_probe(gate, answered=settlement.answered)
    if after != gate:
        organizations.save_gate(tx, task["bucket"], after, wall, probing_lease(organization))
    return after


def _is_probe(organization: Row, task: Row) -> bool:
    return probing_lease(organization) == (task["id"], task["attempt"])


def _changes(
    task: Row, settlement: Settlement, gate: Gate | None, *, now: float, wall: float
) -> dict[str, object]:
    """The columns of a task that a settlement changes, with their new values."""
    tries = task["tries"] + settlement.counts
    closed_for = max(0.0, gate.until - now) if gate is not None and settlement.closing is not None else None
    changes = {
        "status": settlement.status.value,
        "tries": tries,
        "first_sent_at": _first_byte_at(task, tries, closed_for),
        "http_status": settlement.http_status,
        "problem": from_problem(settlement.problem),
        "possible_event": None,
        "duplicate_possible": bool(task["duplicate_possible"] or settlement.duplicate_possible),
        **from_snapshot(settlement.snapshot),
    }
    if settlement.status is Status.QUEUED:
        return {
            **changes,
            "owner": task["owner"] if settlement.look_first else None,
            "retry_at": now + settlement.retry_in if settlement.retry_in > 0 else 0.0,
            "evidence_due": task["evidence_at"] if settlement.look_first else None,
        }
    due = task["evidence_at"] if settlement.status is Status.UNCERTAIN else None
    return {**changes, "evidence_due": due, "settled_at": now, "settled_wall": wall}


def _first_byte_at(task: Row, tries: int, closed_for: float | None) -> float | None:
    """A wait behind a closed gate is no part of the time within which a task is attempted."""
    first: float | None = task["first_sent_at"]
    if closed_for is None or first is None:
        return first
    return None if tries == 0 else first + closed_for


def queue_unsent(tx: Transaction, task: Row) -> None:
    """Queue a task of which nothing was sent; its token is in."""
    now, wall = tx.now(), tx.epoch()
    _return_token(tx, task, IN_SINCE_EVER, now=now, wall=wall)
    _stop_probing(tx, task, wall)
    first = None if task["tries"] == 0 else task["first_sent_at"]
    save_task(tx, task, now, status=Status.QUEUED.value, owner=None, retry_at=0.0, first_sent_at=first)


def _return_token(tx: Transaction, task: Row, returns_at: float, *, now: float, wall: float) -> None:
    tx.change(
        sql.SHORTEN_RETURN,
        bucket=task["bucket"],
        task=task["id"],
        attempt=task["attempt"],
        returns_at=returns_at,
        now=now,
        wall=wall,
    )


def _stop_probing(tx: Transaction, task: Row, wall: float) -> None:
    organization = tx.row(sql.ORGANIZATION, organization=task["organization"]) or {}
    if _is_probe(organization, task):
        organizations.save_gate(
            tx, task["bucket"], gate_after_probe(to_gate(organization), answered=False), wall
        )


def take_over(tx: Transaction, found: Row, owner: str) -> bool:
    """End a lease whose holder is gone: queued again if nothing was sent, else uncertain."""
    try:
        task = lock_task(tx, *IN_FLIGHT, owner=owner, attempt=found["attempt"], key=found["lease_key"])
    except LeaseLost:
        return False
    if task["status"] == Status.LEASED:
        queue_unsent(tx, task)
    else:
        now, wall = tx.now(), tx.epoch()
        _stop_probing(tx, task, wall)
        save_task(tx, task, now, **_changes(task, UNHEARD, None, now=now, wall=wall))
    return True
