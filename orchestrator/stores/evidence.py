"""Uncertain tasks: when to look for what became of them, and what was found."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.model import Lease, Result, RunState, Snapshot, Status
from orchestrator.stores import organizations
from orchestrator.stores import statements as sql
from orchestrator.stores.database import Transaction
from orchestrator.stores.rows import from_snapshot, to_lease, to_result, to_task
from orchestrator.stores.tasks import leased, save


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
