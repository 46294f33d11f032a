"""Uncertain tasks: when to look for what became of them, and what was found."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core import Lease, Result, RunState, Snapshot, Status, UsageError
from orchestrator.store import organizations, runs, sql
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import from_snapshot, leased, save, to_lease, to_result, to_task


def due(tx: Transaction, run: str) -> list[tuple[Lease, Result]]:
    """See `Queue.evidence_due`."""
    found = []
    for row in tx.rows(sql.EVIDENCE_DUE, run=run, now=tx.now()):
        task = to_task(row)
        found.append((replace(to_lease(row, task), run_id=run), to_result(row, task, run)))
    return found


def known_snapshots(tx: Transaction, name: str) -> frozenset[str]:
    """See `Queue.known_snapshots`."""
    organization = organizations.find(tx, name)
    if organization is None:
        return frozenset()
    rows = tx.rows(sql.KNOWN_SNAPSHOTS, organization=organization["id"])
    return frozenset(
        known for row in rows for known in (row["snapshot_id"], row["event_id"]) if known is not None
    )


def conclude(tx: Transaction, lease: Lease, *, found: Snapshot | None, how: str, resend: bool) -> bool:
    """See `Queue.conclude`."""
    task = leased(tx, lease, Status.UNCERTAIN)
    now = tx.now()
    queued = resend and found is None and _carried_on(tx, lease.run_id)
    if found is not None:
        changes: dict[str, object] = {
            **from_snapshot(found),
            "status": Status.CREATED.value,
            "found": how or None,
            "problem": None,
            "settled_at": now,
            "settled_wall": tx.epoch(),
        }
    elif queued:
        again = {
            "status": Status.QUEUED.value,
            "owner": None,
            "retry_at": 0.0,
            "settled_at": None,
            "settled_wall": None,
        }
        changes = {**again, "duplicate_possible": True, "resends": task["resends"] + 1}
    else:
        changes = {"settled_at": now}
    save(tx, task, now, **changes, evidence_due=None)
    return queued


def _carried_on(tx: Transaction, run: str) -> bool:
    """Whether the run is active, or is again: one that was cancelled sends nothing more."""
    tx.change(sql.REVIVE_RUN, run=run)
    row = tx.row(sql.RUN, run=run)
    return row is not None and RunState(row["state"]) is RunState.ACTIVE


def retry_failed(tx: Transaction, run: str) -> int:
    """See `Queue.retry_failed`."""
    failed = _failed(tx, run)
    now, epoch = tx.now(), tx.epoch()
    for row in failed:
        save(tx, row, now, **{**runs.AFRESH, "queued_wall": epoch})
    if failed:
        tx.change(sql.REVIVE_RUN, run=run)
    return len(failed)


def decide(tx: Transaction, run: str, key: str, made: Snapshot | None) -> Result:
    """See `Queue.settle_by_hand`."""
    found = _uncertain(tx, run, key)
    organizations.lock(tx, found["identity"])
    found = _uncertain(tx, run, key)  # read again behind the lock
    now, epoch = tx.now(), tx.epoch()
    if made is None:
        changes: dict[str, object] = {**runs.AFRESH, "queued_wall": epoch}
    else:
        changes = {
            **from_snapshot(made),
            "status": Status.CREATED.value,
            "found": "hand",
            "problem": None,
            "evidence_due": None,
            "settled_at": now,
            "settled_wall": epoch,
        }
    after = {**found, **save(tx, found, now, **changes)}
    if made is None:
        tx.change(sql.REVIVE_RUN, run=run)
    return to_result(after, to_task(after), run)


def _failed(tx: Transaction, run: str) -> list[Row]:
    """The run's tasks that failed when they were sent, read behind the locks of their organizations.

    The others were refused when they were planned: those are never sent.
    """
    locked: set[int] = set()
    while True:
        rows = tx.rows(sql.RUN_TASKS_IN, run=run, status=Status.FAILED.value)
        failed = [row for row in rows if row["tries"]]
        missing = {row["organization"] for row in failed} - locked
        if not missing:
            return failed
        for organization in sorted(missing):
            tx.row(sql.LOCK_ORGANIZATION, organization=organization)
        locked |= missing


def _uncertain(tx: Transaction, run: str, key: str) -> Row:
    """The run's one uncertain task whose key begins so; UsageError names those that are uncertain."""
    rows = tx.rows(sql.RUN_TASKS_IN, run=run, status=Status.UNCERTAIN.value)
    matching = [row for row in rows if row["key"].startswith(key)]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(row["key"][:6] for row in rows) or "none"
    what = "several uncertain tasks begin with" if matching else "no uncertain task begins with"
    raise UsageError(f"run {run}: {what} {key!r}; uncertain are: {known}")
