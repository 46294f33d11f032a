"""A task's life after its grant (which is in `grants`) and up to its end, fenced by the lease: each function is the inside of one transaction.

Whoever changes a task or a token has locked the row of its organization's bucket, and reads everything that counts
after that; but for the first byte's commit, which is one statement with its own fence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.core import Lease, LeaseLost, Problem, Settlement, Status
from orchestrator.ratelimit import IN_SINCE_EVER, Gate, close_gate, gate_after_probe, settled_return
from orchestrator.store import history_sql, sql
from orchestrator.store.database import Row, Seen, Statement, Transaction
from orchestrator.store.rows import (
    NO_PROBE,
    Probe,
    find_phase,
    from_gate,
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

REOPENED: Mapping[str, object] = {"evidence_due": None, "settled_at": None, "settled_wall": None}
"""A task whose lease others had ended, as it was before that: its answer is here after all."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of one attempt: what it comes to, or None where nothing was sent: its token is in at once then.

    `jitter`, from 0 to 1, is by how much of its share a gate that it closes stays closed longer.
    """

    lease: Lease
    settlement: Settlement | None
    jitter: float = 0.0


Held = LeaseLost | None
"""The word on a lease: it was lost, or nothing was in the way."""


# -- the fence ---------------------------------------------------------------------------------------------


def lock_leased(tx: Transaction, lease: Lease, *states: Status) -> Row:
    """The task that the lease still holds, in one of these states, its bucket locked; raises LeaseLost.

    Looked up again once the lock is there: meanwhile it may have changed, or gone to another bucket.
    """
    fence = {"owner": lease.owner, "attempt": lease.attempt, "key": lease.task.key}
    task = tx.row(sql.LEASED_TASK, **fence)
    locked = None
    while task is not None and task["bucket"] != locked:
        locked = task["bucket"]
        tx.row(sql.LOCK_BUCKET, bucket=locked)
        task = tx.row(sql.LEASED_TASK, **fence)
    if task is None or Status(task["status"]) not in states:
        raise _lost(fence["key"], lease.attempt)
    return task


def _lost(key: object, attempt: int) -> LeaseLost:
    return LeaseLost(f"attempt {attempt} of task {key} is no longer this process's")


def change_task(task: Row, now: float, changes: Mapping[str, object]) -> list[Statement]:
    """The statements that change a task and, if that changes, its place in the turns of all runs that refer to it.

    The first one touches a row if the task is still as it was seen; what follows does nothing otherwise.
    """
    after = {**task, **changes}
    seen = {"id": task["id"], "seen_attempt": task["attempt"], "seen_status": task["status"]}
    statements: list[Statement] = [(sql.save_task(*changes), {**changes, **seen})]
    place = find_phase(after, now)
    if place != find_phase(task, now):
        where = {"phase": int(place[0]), "until": place[1], **_changed(after)}
        statements.append((sql.PLACE_TASK, where))
    if Status(task["status"]).settled:
        statements.append((history_sql.FORGET_COUNTS, {"task": task["id"]}))
    return statements


def _changed(task: Row) -> dict[str, object]:
    """By these a statement sees if the change of a task, which came before it, was carried out."""
    return {"task": task["id"], "attempt": task["attempt"], "status": task["status"]}


def save_task(tx: Transaction, task: Row, now: float, **changes: object) -> Row:
    """Change a task, its place in the turns of all runs that refer to it, and its bucket's version."""
    (save, values), *rest = change_task(task, now, changes)
    if tx.change(save, **values) != 1:
        raise LeaseLost(f"task {task['key'][:6]} was changed by another process")
    tx.together([*rest, (sql.TOUCH_BUCKET, {"bucket": task["bucket"]})])
    return {**task, **changes}


def queue_afresh(tx: Transaction, task: Row, *, now: float, epoch: float) -> Row:
    """Queue a task as if it had never been attempted."""
    return save_task(tx, task, now, **AFRESH, queued_wall=epoch)


def queue_all_afresh(
    tx: Transaction, tasks: Iterable[tuple[Row, Mapping[str, object]]], *, now: float, epoch: float
) -> None:
    """Queue settled tasks, each with changes of its own, in one round trip: nobody changes one without its bucket's lock."""
    statements, buckets = list[Statement](), set[int]()
    for task, changes in tasks:
        statements += change_task(task, now, {**AFRESH, "queued_wall": epoch, **changes})
        buckets.add(task["bucket"])
    statements += [(sql.TOUCH_BUCKET, {"bucket": bucket}) for bucket in sorted(buckets)]
    tx.together(statements)


# -- its first byte, and its ends --------------------------------------------------------------------------


def mark_sending(tx: Transaction, leases: Sequence[Lease]) -> list[Held]:
    """Commit that first bytes are about to leave."""
    touched = tx.finish([(sql.SEND_TASK, _fence(lease)) for lease in leases])
    return [None if some else _lost(*_name(lease)) for lease, some in zip(leases, touched, strict=True)]


def settle(tx: Transaction, ends: Sequence[End]) -> list[Held | End]:
    """Write what attempts come to, and commit: tasks, returns of tokens, gates.

    An end comes back itself where somebody else has the bucket's lock: only an end that is alone waits for it.
    """
    seen = _look(tx, [_key(end.lease) for end in ends], wait=len(ends) == 1)
    writer = _Ends(seen)
    found = [writer.add(end) for end in ends]
    return _commit(tx, writer, found)


def take_over(tx: Transaction, rows: Sequence[Row], owner: str, *, dead: bool) -> int:
    """End leases whose holder is gone, and commit: queued again if nothing was sent, else uncertain; how many.

    A holder that is to be `dead` may be seen to live after all: then nothing is done.
    """
    seen = _look(tx, [row["lease_key"] for row in rows], wait=len(rows) == 1)
    if dead and tx.alive(owner):
        return 0
    writer = _Ends(seen)
    found = [writer.take_over(owner, row["lease_key"], row["attempt"]) for row in rows]
    return _commit(tx, writer, found).count(None)


def _look(tx: Transaction, keys: list[str], *, wait: bool) -> Seen:
    lock = sql.LOCK_LEASED if wait else sql.LOCK_LEASED_IF_FREE
    return tx.together([(lock, {"keys": keys}), (sql.LEASED_TASKS, {"keys": keys})])


T = TypeVar("T")


def _commit(tx: Transaction, writer: _Ends, found: list[T | _Written]) -> list[T | Held]:
    """Carry out what is to be written; in place of what was found for it, the word on each lease."""
    touched = tx.finish(writer.statements)
    return [_word(one, touched) if isinstance(one, _Written) else one for one in found]


def _word(written: _Written, touched: Sequence[int]) -> Held:
    return None if touched[written.index] else _lost(written.key, written.attempt)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A task that is to be changed, by the statement with this index."""

    index: int
    key: str
    attempt: int


class _Ends:
    """The statements that several ends come to, one after the other; nothing is asked of the database."""

    def __init__(self, seen: Seen) -> None:
        locked, tasks = seen.rows
        self._locked = {row["id"] for row in locked}
        self._tasks = {(row["lease_key"], row["owner"], row["attempt"]): row for row in tasks}
        self._gates = {row["bucket"]: (to_gate(row), probing_lease(row)) for row in tasks}
        self._touched: set[int] = set()
        self._now, self._wall = seen.now, seen.wall
        self.statements: list[Statement] = []

    def add(self, end: End) -> Held | End | _Written:
        """Note one end: what was written for it, a lost lease, or the end itself where the bucket is not locked."""
        settlement = end.settlement
        late = (Status.UNCERTAIN,) if settlement is not None and settlement.answered else ()
        task = self._find(_key(end.lease), end.lease.owner, end.lease.attempt, (*IN_FLIGHT, *late))
        if task is None:
            return _lost(*_name(end.lease))
        if task["bucket"] not in self._locked:
            return end
        if settlement is None:
            return self._queue_unsent(task)
        return self._settle(task, settlement, end.jitter)

    def take_over(self, owner: str, key: str, attempt: int) -> Held | _Written:
        """Note a lease whose holder is gone; one of which the bucket is not locked waits for the next look."""
        task = self._find(key, owner, attempt, IN_FLIGHT)
        if task is None or task["bucket"] not in self._locked:
            return _lost(key, attempt)
        if task["status"] == Status.LEASED:
            return self._queue_unsent(task)
        self._stop_probing(task)
        return self._save(task, _changes(task, UNHEARD, None, now=self._now, wall=self._wall))

    def _find(self, key: str, owner: str, attempt: int, states: Collection[Status]) -> Row | None:
        task = self._tasks.get((key, owner, attempt))
        return task if task is not None and Status(task["status"]) in states else None

    def _settle(self, task: Row, settlement: Settlement, jitter: float) -> _Written:
        changes: dict[str, object] = {}
        if Status(task["status"]) is Status.UNCERTAIN:
            changes |= REOPENED
            task = {**task, **REOPENED, "tries": task["tries"] - 1}
            if not settlement.status.settled:
                self.statements.append((sql.REVIVE_RUN, {"run": task["lease_run"]}))
        gate = self._settle_gate(task, settlement, jitter)
        changes |= _changes(task, settlement, gate, now=self._now, wall=self._wall)
        returns_at = settled_return(to_limit(task["lease_limit"]), self._now) if settlement.answered else None
        return self._save(task, changes, returns_at=returns_at)

    def _queue_unsent(self, task: Row) -> _Written:
        """Queue a task of which nothing was sent; its token is in."""
        self._stop_probing(task)
        first = None if task["tries"] == 0 else task["first_sent_at"]
        changes = {"status": Status.QUEUED.value, "owner": None, "retry_at": 0.0, "first_sent_at": first}
        return self._save(task, changes, returns_at=IN_SINCE_EVER)

    def _save(self, task: Row, changes: Mapping[str, object], *, returns_at: float | None = None) -> _Written:
        index = len(self.statements)
        self.statements += change_task(task, self._now, changes)
        if returns_at is not None:
            fence = {"bucket": task["bucket"], **_changed({**task, **changes})}
            times = {"returns_at": returns_at, "now": self._now, "wall": self._wall}
            self.statements.append((sql.SHORTEN_RETURN, {**fence, **times}))
        self._touch(task["bucket"])
        return _Written(index=index, key=task["lease_key"], attempt=task["attempt"])

    def _touch(self, bucket: int) -> None:
        if bucket not in self._touched:
            self._touched.add(bucket)
            self.statements.append((sql.TOUCH_BUCKET, {"bucket": bucket}))

    # -- the gate --------------------------------------------------------------------------------------
    def _settle_gate(self, task: Row, settlement: Settlement, jitter: float) -> Gate | None:
        """Close the gate after a 429, open it after its probe was answered; as it is then."""
        gate, probe = self._gates[task["bucket"]]
        after = gate
        if settlement.closing is not None:
            limit, granted_at = to_limit(task["lease_limit"]), task["granted_at"]
            after = close_gate(
                gate, settlement.closing, limit, granted_at=granted_at, now=self._now, jitter=jitter
            )
        elif probe == _lease_of(task):
            after = gate_after_probe(gate, answered=settlement.answered)
        if after != gate:
            self._save_gate(task["bucket"], after, probe)
        return after

    def _stop_probing(self, task: Row) -> None:
        gate, probe = self._gates[task["bucket"]]
        if probe == _lease_of(task):
            self._save_gate(task["bucket"], gate_after_probe(gate, answered=False), NO_PROBE)

    def _save_gate(self, bucket: int, gate: Gate | None, probe: Probe) -> None:
        probing = probe if gate is not None and gate.probe_until is not None else NO_PROBE
        self._gates[bucket] = gate, probing
        columns = from_gate(gate, wall=self._wall, probe=probing)
        self.statements.append((sql.SAVE_GATE, {"bucket": bucket, **columns}))


def _lease_of(task: Row) -> Probe:
    return task["id"], task["attempt"]


def _key(lease: Lease) -> str:
    """The key that a task was granted under; it may have another one by now."""
    return lease.task.sent_as or lease.task.key


def _name(lease: Lease) -> tuple[str, int]:
    return _key(lease), lease.attempt


def _fence(lease: Lease) -> dict[str, object]:
    return {"key": _key(lease), "owner": lease.owner, "attempt": lease.attempt}


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
