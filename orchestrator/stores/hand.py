"""What people decide about tasks that ended badly: each function is the inside of one transaction."""

from __future__ import annotations

from orchestrator.errors import UsageError
from orchestrator.model import Result, Snapshot, Status
from orchestrator.stores import organizations, runs
from orchestrator.stores import statements as sql
from orchestrator.stores.database import Row, Transaction
from orchestrator.stores.rows import from_snapshot, to_result, to_task
from orchestrator.stores.tasks import save


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
