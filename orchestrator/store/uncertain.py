"""Uncertain tasks: when to look for what became of them, what was found, and what their user says."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from orchestrator.core import Lease, PossibleEvent, Result, RunState, Snapshot, Status, UsageError
from orchestrator.store import organizations, sql
from orchestrator.store.database import Database, Row, Transaction
from orchestrator.store.leases import lock_leased, queue_afresh, save_task
from orchestrator.store.rows import from_possible_event, from_snapshot, to_lease, to_result, to_task

RESENT = {
    "status": Status.QUEUED.value,
    "owner": None,
    "retry_at": 0.0,
    "evidence_due": None,
    "settled_at": None,
    "settled_wall": None,
    "duplicate_possible": True,
    "possible_event": None,
}
"""The columns of a task that is sent once more although its snapshot may exist."""


class UncertainTasks:
    """Tasks of which nobody knows whether their snapshot was made: until evidence, a policy or a hand settles them.

    Queued ones are among them: somebody else answered in the API's place, and they go again once that was looked at.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, run_id: str) -> list[tuple[Lease, Result]]:
        """Tasks of the run whose evidence may be looked for now, with the attempt that left them.

        The leases are this run's, whichever run made the attempt.
        """
        found = []
        with self._database.read() as tx:
            for row in tx.rows(sql.EVIDENCE_DUE, run=run_id, now=tx.now()):
                task = to_task(row)
                found.append((replace(to_lease(row, task), run_id=run_id), to_result(row, task, run_id)))
        return found

    def known_snapshots(self, organization: str, ids: Collection[str]) -> frozenset[str]:
        """Those of these ids that the store already has for an organization, as a snapshot's or a saved event's."""
        with self._database.read() as tx:
            found = organizations.find(tx, organization)
            if found is None or not ids:
                return frozenset()
            rows = tx.rows(sql.KNOWN_SNAPSHOTS, organization=found["id"], ids=list(ids))
        return frozenset(row["id"] for row in rows)

    def conclude(
        self,
        lease: Lease,
        *,
        found: Snapshot | None,
        how: str = "",
        twice: bool = False,
        possible: PossibleEvent | None = None,
        resend: bool = False,
    ) -> bool:
        """End the search for evidence: created as found (`twice`: it exists more than once), queued once more (flagged), or uncertain for now.

        What remains uncertain keeps the saved event that it is `possible` to be. True if it was queued: in a run that
        was cancelled nobody would send it. One that was queued stays so.
        """
        with self._database.write() as tx:
            task = lock_leased(tx, lease, Status.UNCERTAIN, Status.QUEUED)
            now, waiting = tx.now(), Status(task["status"]) is Status.QUEUED
            queued = found is None and (waiting or (resend and _revive(tx, lease.run_id)))
            if found is not None:
                changes = _creation(found, how or None, now=now, epoch=tx.epoch())
                changes["duplicate_possible"] = bool(task["duplicate_possible"] or twice)
            elif queued:
                changes = {**RESENT, "resends": task["resends"] + (not waiting)}
            else:
                seen = from_possible_event(possible)
                changes = {"settled_at": now, "evidence_due": None, "possible_event": seen}
            save_task(tx, task, now, **changes)
        return queued

    def settle_by_hand(self, run_id: str, key: str, *, made: Snapshot | None) -> Result:
        """Settle an uncertain task, by the beginning of its key: created as `made`, or (None) queued again.

        A finished run of which a task is queued again is active again; a cancelled one stays so.
        Raises `UsageError` when no uncertain task of the run, or more than one, is meant.
        """
        with self._database.write() as tx:
            found = _find(tx, run_id, key)
            organizations.lock(tx, found["identity"])
            found = _find(tx, run_id, key)  # read again behind the lock
            now, epoch = tx.now(), tx.epoch()
            if made is None:
                after = queue_afresh(tx, found, now=now, epoch=epoch)
                tx.change(sql.REVIVE_RUN, run=run_id)
            else:
                after = save_task(tx, found, now, **_creation(made, "hand", now=now, epoch=epoch))
        return to_result(after, to_task(after), run_id)


def _creation(snapshot: Snapshot, found: str | None, *, now: float, epoch: float) -> dict[str, object]:
    """The columns of a task whose snapshot turns out to exist."""
    return {
        **from_snapshot(snapshot),
        "status": Status.CREATED.value,
        "found": found,
        "problem": None,
        "possible_event": None,
        "evidence_due": None,
        "settled_at": now,
        "settled_wall": epoch,
    }


def _revive(tx: Transaction, run: str) -> bool:
    """Have the run active again, unless it was cancelled: such a run sends nothing more."""
    tx.change(sql.REVIVE_RUN, run=run)
    row = tx.row(sql.RUN, run=run)
    return row is not None and RunState(row["state"]) is RunState.ACTIVE


def _find(tx: Transaction, run: str, key: str) -> Row:
    """The run's one uncertain task whose key begins so; UsageError names those that are uncertain."""
    rows = tx.rows(sql.RUN_TASKS_IN, run=run, status=Status.UNCERTAIN.value)
    matching = [row for row in rows if row["key"].startswith(key)]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(row["key"][:6] for row in rows) or "none"
    what = "several uncertain tasks begin with" if matching else "no uncertain task begins with"
    raise UsageError(f"run {run}: {what} {key!r}; uncertain are: {known}")
