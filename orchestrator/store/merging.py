"""Two organizations that turn out to be one: their tasks and names become one, at once or not at all.

Their buckets have become one before (`orchestrator.store.sharing`). Why it is needed, and why not less: docs/decisions/0007-merging-buckets.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.core import Existence, Status
from orchestrator.store import history_sql, sharing_sql, sql, stubs
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import find_existence, find_phase, to_bare_task

ADVANCED = (Status.FAILED, Status.QUEUED, Status.LEASED, Status.SENDING, Status.UNCERTAIN, Status.CREATED)
"""From the state that is given up first to the one that is kept when two tasks turn out to be one. What failed comes
first: the next one who asks for it queues it again."""

SENT = (Status.SENDING, Status.UNCERTAIN, Status.CREATED)
"""States behind which there may be a snapshot: such a task is never dropped."""


def merge(tx: Transaction, source: int, target: Row) -> None:
    """Move everything of one organization into another, with which it shares a bucket that is locked."""
    stubs.revive_all(tx, (source, target["id"]))
    _merge_tasks(tx, source, target, tx.now())
    for statement in (
        sharing_sql.MOVE_RUN_TASKS,
        sharing_sql.MOVE_RUN_ORGANIZATIONS,
        sharing_sql.DROP_RUN_ORGANIZATIONS,
        sharing_sql.MOVE_SERVING,
        sharing_sql.DROP_SERVING,
        sharing_sql.MOVE_IDENTITIES,
        sharing_sql.DROP_ORGANIZATION,
    ):
        tx.change(statement, organization=source, into=target["id"])
    tx.change(sharing_sql.RECOUNT, organization=target["id"])
    tx.change(sql.TOUCH_BUCKET, bucket=target["bucket"])


def _merge_tasks(tx: Transaction, source: int, target: Row, now: float) -> None:
    """Give the tasks their new keys. Leases in flight go on: they are known by the key they were granted under."""
    moves: list[Mapping[str, object]] = []
    for base_key, tasks in _by_base_key(tx, source, target).items():
        others = tx.rows(sharing_sql.GENERATIONS, base_key=base_key)
        if others:
            _renumber(tx, _unite(tx, tasks, others, target, now), target)
        else:
            moves += [_new_keys(task, target, task["generation"]) for task in tasks]
    tx.each(sharing_sql.MOVE_TASK, moves)


def _by_base_key(tx: Transaction, source: int, target: Row) -> dict[str, list[Row]]:
    """An organization's tasks by the base key that they are to have."""
    found: dict[str, list[Row]] = {}
    for task in tx.rows(sharing_sql.TASKS_OF, organization=source):
        found.setdefault(str(_new_keys(task, target, 0)["base_key"]), []).append(task)
    return found


def _unite(
    tx: Transaction, tasks: Sequence[Row], others: Sequence[Row], target: Row, now: float
) -> list[Row]:
    """All generations of a snapshot known under two keys, in the order of what they are to be.

    What was asked for plainly on both sides is one task: the more advanced stays, and if both may have been
    made, both do. A later generation was asked for although there was one already: it is never given up. What
    has expired comes before all that is left, since it stands for nothing that is asked for now.
    """
    sides = [_split_expired(side, tx.epoch()) for side in (tasks, others)]
    firsts = sorted(_lock_tasks(tx, [left[0] for _, left in sides if left]), key=_rank)
    if len(firsts) == len(sides) and Status(firsts[0]["status"]) in SENT:
        for row in firsts:  # made under each of two names, before anybody knew that they are one
            tx.change(sharing_sql.FLAG_DUPLICATE, task=row["id"])
    elif len(firsts) == len(sides):
        _drop(tx, firsts[0], firsts[1], target, now)
        del firsts[0]
    gone = sorted((row for gone, _ in sides for row in gone), key=_turn)
    return [*gone, *firsts, *sorted((row for _, left in sides for row in left[1:]), key=_turn)]


def _lock_tasks(tx: Transaction, rows: Sequence[Row]) -> list[Row]:
    """The tasks as they are behind their own locks: the commit before a first byte does not wait for the bucket's."""
    return tx.rows(sharing_sql.LOCK_TASKS, tasks=[row["id"] for row in rows])


def _is_gone(row: Row, epoch: float) -> bool:
    return find_existence(row, None, epoch) is Existence.GONE


def _split_expired(side: Sequence[Row], epoch: float) -> tuple[list[Row], list[Row]]:
    """A side's generations: up to the last one that has expired, and after it."""
    rows = sorted(side, key=_turn)
    gone = max((number for number, row in enumerate(rows, start=1) if _is_gone(row, epoch)), default=0)
    return rows[:gone], rows[gone:]


def _rank(row: Row) -> int:
    return ADVANCED.index(Status(row["status"]))


def _turn(row: Row) -> tuple[int, int]:
    return row["generation"], _rank(row)


def _drop(tx: Transaction, lesser: Row, kept: Row, target: Row, now: float) -> None:
    """Have all runs refer to the task that is kept; that a duplicate is possible is not forgotten."""
    phase, until = find_phase(kept, now)
    tx.change(history_sql.FORGET_COUNTS, task=lesser["id"])
    tx.change(sharing_sql.REPOINT, kept=kept["id"], dropped=lesser["id"], phase=int(phase), until=until)
    tx.change(sharing_sql.DROP_RUN_TASKS, task=lesser["id"])
    tx.change(sharing_sql.DROP_PROBE, bucket=target["bucket"], task=lesser["id"])
    tx.change(sharing_sql.DROP_TASK, task=lesser["id"])
    if lesser["duplicate_possible"]:
        tx.change(sharing_sql.FLAG_DUPLICATE, task=kept["id"])


def _renumber(tx: Transaction, tasks: Sequence[Row], target: Row) -> None:
    """Number generations anew, each as it was or later; the last one moves first, so that each place is free."""
    numbers: list[int] = []
    for task in tasks:
        numbers.append(max(task["generation"], numbers[-1] + 1 if numbers else 0))
    for task, generation in reversed(list(zip(tasks, numbers, strict=True))):
        tx.change(sharing_sql.MOVE_TASK, **_new_keys(task, target, generation))


def _new_keys(row: Row, target: Row, generation: int) -> dict[str, object]:
    """The columns of a task that change when it moves to an organization, with their new values."""
    task = replace(
        to_bare_task({**row, "identity": target["identity"], "organization_name": ""}), generation=generation
    )
    return {
        "id": row["id"],
        "organization": target["id"],
        "key": task.key,
        "base_key": task.base_key,
        "generation": generation,
    }
