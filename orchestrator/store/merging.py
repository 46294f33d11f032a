"""Two organizations that turn out to be one: their buckets, tasks and names become one, at once or not at all.

Why it is needed, and why not less: docs/decisions/0007-merging-buckets.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.core import Status
from orchestrator.store import sql
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import find_phase, from_gate, is_expired, probing_lease, to_bare_task, to_gate

ADVANCED = (Status.FAILED, Status.QUEUED, Status.LEASED, Status.SENDING, Status.UNCERTAIN, Status.CREATED)
"""From the state that is given up first to the one that is kept when two tasks turn out to be one. What failed comes
first: the next one who asks for it queues it again."""

SENT = (Status.SENDING, Status.UNCERTAIN, Status.CREATED)
"""States behind which there may be a snapshot: such a task is never dropped."""


def merge(tx: Transaction, source: int, target: int) -> Row:
    """Move everything of one organization into another, unless another process has done so while this one waited."""
    for number in sorted((source, target)):
        tx.row(sql.LOCK_ORGANIZATION, organization=number)
    rows = {number: tx.row(sql.ORGANIZATION, organization=number) or {} for number in (source, target)}
    if not rows[source]:
        return rows[target]
    now, wall = tx.now(), tx.epoch()
    _merge_tokens(tx, source, target, now)
    _merge_gates(tx, rows[source], rows[target], wall)
    _merge_tasks(tx, source, rows[target], now)
    for statement in (
        sql.MOVE_HELD,
        sql.DROP_ALL_HELD,
        sql.MOVE_RUN_TASKS,
        sql.MOVE_RUN_ORGANIZATIONS,
        sql.DROP_RUN_ORGANIZATIONS,
        sql.MOVE_SERVING,
        sql.DROP_SERVING,
        sql.MOVE_IDENTITIES,
        sql.DROP_ORGANIZATION,
    ):
        tx.change(statement, organization=source, into=target)
    tx.change(sql.RECOUNT, organization=target)
    tx.change(sql.TOUCH_ORGANIZATION, organization=target)
    return tx.row(sql.ORGANIZATION, organization=target) or {}


def _merge_tokens(tx: Transaction, source: int, target: int, now: float) -> None:
    """Number the tokens of both anew, the latest return first: the highest numbers are beyond any limit.

    If both buckets had tokens out, more may be out now than the limit allows. No lease may then bring one
    back early: a token left out of account could still be out at that moment.
    """
    sides = [tx.rows(sql.TOKENS, organization=number) for number in (source, target)]
    crowded = all(any(row["returns_at"] > now for row in side) for side in sides)
    tokens = sorted((row for side in sides for row in side), key=lambda row: -row["returns_at"])
    for number in (source, target):
        tx.change(sql.DROP_TOKENS, organization=number)
    for number, token in enumerate(tokens, start=1):
        holder = {"task": None, "attempt": None} if crowded else {}
        tx.change(sql.WRITE_RETURN, **{**token, "organization": target, "number": number, **holder})


def _merge_gates(tx: Transaction, source: Row, target: Row, wall: float) -> None:
    """The gate that is closed for longer stays, and the later of the last grants."""
    kept = max((source, target), key=lambda row: row["gate_until"] or 0.0)
    wall = wall if kept["gate_wall"] is None else kept["gate_wall"]
    gate = from_gate(to_gate(kept), wall=wall, probe=probing_lease(kept))
    tx.change(sql.SAVE_GATE, organization=target["id"], **gate)
    grants = [row["last_grant"] for row in (source, target) if row["last_grant"] is not None]
    if grants:
        tx.change(sql.NOTE_GRANT, organization=target["id"], now=max(grants))


def _merge_tasks(tx: Transaction, source: int, target: Row, now: float) -> None:
    """Give the tasks their new keys. Leases in flight go on: they are known by the key they were granted under."""
    moves: list[Mapping[str, object]] = []
    for base_key, tasks in _by_base_key(tx, source, target).items():
        others = tx.rows(sql.GENERATIONS, base_key=base_key)
        if others:
            _renumber(tx, _unite(tx, tasks, others, target, now), target)
        else:
            moves += [_new_keys(task, target, task["generation"]) for task in tasks]
    tx.each(sql.MOVE_TASK, moves)


def _by_base_key(tx: Transaction, source: int, target: Row) -> dict[str, list[Row]]:
    """An organization's tasks by the base key that they are to have."""
    found: dict[str, list[Row]] = {}
    for task in tx.rows(sql.TASKS_OF, organization=source):
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
    firsts = sorted((left[0] for _, left in sides if left), key=_rank)
    if len(firsts) == len(sides) and Status(firsts[0]["status"]) not in SENT:
        _drop(tx, firsts[0], firsts[1], target, now)
        del firsts[0]
    gone = sorted((row for gone, _ in sides for row in gone), key=_turn)
    return [*gone, *firsts, *sorted((row for _, left in sides for row in left[1:]), key=_turn)]


def _split_expired(side: Sequence[Row], epoch: float) -> tuple[list[Row], list[Row]]:
    """A side's generations: up to the last one that has expired, and after it."""
    rows = sorted(side, key=_turn)
    gone = max((number for number, row in enumerate(rows, start=1) if is_expired(row, epoch)), default=0)
    return rows[:gone], rows[gone:]


def _rank(row: Row) -> int:
    return ADVANCED.index(Status(row["status"]))


def _turn(row: Row) -> tuple[int, int]:
    return row["generation"], _rank(row)


def _drop(tx: Transaction, lesser: Row, kept: Row, target: Row, now: float) -> None:
    """Have all runs refer to the task that is kept; that a duplicate is possible is not forgotten."""
    phase, until = find_phase(kept, now)
    tx.change(sql.REPOINT, kept=kept["id"], dropped=lesser["id"], phase=int(phase), until=until)
    tx.change(sql.DROP_RUN_TASKS, task=lesser["id"])
    tx.change(sql.DROP_PROBE, organization=target["id"], task=lesser["id"])
    tx.change(sql.DROP_TASK, task=lesser["id"])
    if lesser["duplicate_possible"]:
        tx.change(sql.FLAG_DUPLICATE, task=kept["id"])


def _renumber(tx: Transaction, tasks: Sequence[Row], target: Row) -> None:
    """Number generations anew, each as it was or later; the last one moves first, so that each place is free."""
    numbers: list[int] = []
    for task in tasks:
        numbers.append(max(task["generation"], numbers[-1] + 1 if numbers else 0))
    for task, generation in reversed(list(zip(tasks, numbers, strict=True))):
        tx.change(sql.MOVE_TASK, **_new_keys(task, target, generation))


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
