"""A task's row changes in one place, fenced by the state that was seen."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.errors import LeaseLost
from orchestrator.model import Lease, Status
from orchestrator.stores import statements as sql
from orchestrator.stores.database import Row, Transaction
from orchestrator.stores.rows import place

IN_FLIGHT = (Status.LEASED, Status.SENDING)


def save(tx: Transaction, task: Row, now: float, **changes: object) -> Row:
    """Change a task, its place in the turns of all runs that refer to it, and its organization's version."""
    after = {**task, **changes}
    seen = {"seen_attempt": task["attempt"], "seen_status": task["status"]}
    if tx.change(sql.SAVE_TASK, **after, **seen) != 1:
        raise LeaseLost(f"task {task['key'][:6]} was changed by another process")
    phase, until = place(after, now)
    tx.change(sql.PLACE_TASK, task=task["id"], phase=int(phase), until=until)
    tx.change(sql.TOUCH_ORGANIZATION, organization=task["organization"])
    return after


def leased(tx: Transaction, lease: Lease, *states: Status) -> Row:
    """The task that the lease still holds; raises LeaseLost."""
    return hold(tx, {"owner": lease.owner, "attempt": lease.attempt, "key": lease.task.key}, *states)


def hold(tx: Transaction, fence: Mapping[str, object], *states: Status) -> Row:
    """The task with this owner, attempt and key in one of these states, its organization locked; raises LeaseLost.

    Looked up again once the lock is there: meanwhile it may have changed, or gone to another organization.
    """
    task = tx.row(sql.LEASED_TASK, **fence)
    locked = None
    while task is not None and task["organization"] != locked:
        locked = task["organization"]
        tx.row(sql.LOCK_ORGANIZATION, organization=locked)
        task = tx.row(sql.LEASED_TASK, **fence)
    if task is None or Status(task["status"]) not in states:
        raise LeaseLost(f"attempt {fence['attempt']} of task {fence['key']} is no longer this process's")
    return task
