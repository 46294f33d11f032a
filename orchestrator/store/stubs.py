"""What is left of a forgotten snapshot that may exist for ever: key, ids and name, until somebody asks for it again.

A saved event may outlive all that is known of its run: without a stub it would be made twice, and nobody would say so.
A stub becomes a task again, made and with no run of its own, before anything is decided by it: so there is one place
for each rule about tasks. Why: docs/decisions/0023-what-is-forgotten.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.core import Snapshot, Status
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import from_snapshot, to_bare_task, to_result

LEAVE = """
INSERT INTO stub (base_key, generation, organization, account_group, test_id, window_start, window_end, is_public,
    display_name, resends, made_wall, snapshot_id, event_id)
VALUES (:base_key, :generation, :organization, :account_group, :test_id, :window_start, :window_end, :is_public,
    :display_name, :resends, :made_wall, :snapshot_id, :event_id)"""

_STUBS = "SELECT s.*, o.identity, o.bucket, o.name AS organization_name FROM stub s JOIN organization o ON o.id = s.organization"

ASKED = f"{_STUBS} WHERE s.base_key = ANY(:keys)"

OF_ORGANIZATIONS = f"{_STUBS} WHERE s.organization = ANY(:organizations)"

PAGE = """
SELECT base_key, generation, made_wall FROM stub WHERE (base_key, generation) > (:base_key, :generation)
ORDER BY base_key, generation LIMIT :some"""

DROP_OLD = "DELETE FROM stub WHERE base_key = ANY(:keys) AND made_wall < :before"

DROP = "DELETE FROM stub WHERE base_key = ANY(:keys)"

REVIVE = """
INSERT INTO task (key, base_key, generation, organization, account_group, test_id, window_start, window_end, is_public,
    display_name, ready_at, status, attempt, tries, resends, granted_at, settled_wall, settled_at, snapshot_id, event_id,
    snapshot)
VALUES (:key, :base_key, :generation, :organization, :account_group, :test_id, :window_start, :window_end, :is_public,
    :display_name, 0, :status, 1, 1, :resends, 0, :settled_wall, 0, :snapshot_id, :event_id, :snapshot)
ON CONFLICT (base_key, generation) DO NOTHING"""

UNKNOWN: Mapping[str, None] = dict.fromkeys(
    [
        "test_name",
        "lease_key",
        "lease_run",
        "problem",
        "http_status",
        "found",
        "evidence_due",
        "listed",
        "listed_at",
        "possible_event",
        "queued_wall",
        "sent_wall",
        "granted_wall",
    ]
)
"""The columns of a task of which a stub keeps nothing."""


def leave(tx: Transaction, rows: Sequence[Row]) -> None:
    """Leave a stub of each of these tasks, whose snapshots were made and may exist."""
    tx.each(LEAVE, map(_to_stub, rows))


def find(tx: Transaction, keys: Sequence[str]) -> list[Row]:
    """The stubs of these base keys, as rows of tasks."""
    return list(map(_to_task_row, tx.rows(ASKED, keys=list(keys))))


def revive(tx: Transaction, keys: Sequence[str]) -> None:
    """Make tasks of the stubs of these base keys again; the buckets of their organizations are locked."""
    _revive(tx, tx.rows(ASKED, keys=list(keys)))


def revive_all(tx: Transaction, organizations: Iterable[int]) -> None:
    """Make tasks of all stubs of some organizations again, whose buckets are locked."""
    _revive(tx, tx.rows(OF_ORGANIZATIONS, organizations=list(organizations)))


def read_page(tx: Transaction, after: Row, some: int) -> list[Row]:
    """Some stubs after one, in the order of their keys: key and generation, and when the snapshot was made."""
    place = {"base_key": after["base_key"], "generation": after["generation"]}
    return tx.rows(PAGE, **place, some=some)


def drop(tx: Transaction, keys: Sequence[str], before: float) -> int:
    """Drop those stubs of these base keys whose snapshots were made before this moment; how many."""
    return tx.change(DROP_OLD, keys=list(keys), before=before) if keys else 0


def _revive(tx: Transaction, stubs: Sequence[Row]) -> None:
    if stubs:
        tx.each(REVIVE, map(_to_task_row, stubs))
        tx.change(DROP, keys=sorted({row["base_key"] for row in stubs}))


def _to_stub(row: Row) -> Row:
    """The columns of a task that are kept. What was found by its event alone has that one's id twice."""
    result = to_result(row, to_bare_task(row), None)
    made = result.made_at
    return {**row, "made_wall": made, "event_id": row["event_id"] or row["snapshot_id"]}


def _to_task_row(stub: Row) -> Row:
    """A task as its row, made and attempted, of which no more is known than its stub."""
    snapshot = Snapshot(id=stub["snapshot_id"], event_id=stub["event_id"], saved_event=True)
    row = {
        **UNKNOWN,
        **stub,
        **from_snapshot(snapshot),
        "status": Status.CREATED.value,
        "ready_at": 0.0,
        "tries": 1,
        "duplicate_possible": 0,
        "settled_wall": stub["made_wall"],
    }
    return {**row, "key": to_bare_task(row).key}
