"""Organizations: who shares a bucket, what it holds, and how two of them become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.core import Limit, Priority, Status, identity
from orchestrator.ratelimit import Bucket, Gate, longest_hold
from orchestrator.store import sql
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import expired, from_gate, place, to_bare_task, to_gate, to_limit, to_token

ADVANCED = (Status.FAILED, Status.QUEUED, Status.LEASED, Status.SENDING, Status.UNCERTAIN, Status.CREATED)
"""From the state that is given up first to the one that is kept when two tasks turn out to be one: what failed is
queued again by whoever asks for it, whoever that was."""

SENT = (Status.SENDING, Status.UNCERTAIN, Status.CREATED)
"""States behind which there may be a snapshot: such a task is never dropped."""

Lease = tuple[int, int]


def find(tx: Transaction, name: str) -> Row | None:
    """The organization with this identity, or that once had it."""
    return tx.row(sql.FIND_ORGANIZATION, identity=name)


def lock(tx: Transaction, name: str) -> Row | None:
    """The organization, read after its row was locked."""
    organization = find(tx, name)
    while organization is not None:
        locked = tx.row(sql.LOCK_ORGANIZATION, organization=organization["id"])
        organization = find(tx, name)
        if locked and organization and organization["id"] == locked["id"]:
            break
    return organization


def lock_all(tx: Transaction, names: Mapping[str, str]) -> dict[str, Row]:
    """All of these organizations, made if need be and locked; `names` are what a new one is called."""
    locked: set[int] = set()
    while True:
        found = {name: ensure(tx, name, called) for name, called in sorted(names.items())}
        missing = {organization["id"] for organization in found.values()} - locked
        if not missing:
            return found
        for number in sorted(missing):  # the same order for everybody
            tx.row(sql.LOCK_ORGANIZATION, organization=number)
        locked |= missing


def ensure(tx: Transaction, name: str, called: str) -> Row:
    """The organization with this identity, made if need be."""
    organization = find(tx, name)
    if organization is None:
        tx.change(sql.ADD_ORGANIZATION, identity=name, name=called)
        tx.change(sql.POINT_IDENTITY, identity=name, of=name)
        organization = find(tx, name)
    if organization is None:  # pragma: no cover - the row was written two lines above
        raise LookupError(name)
    return organization


def join(tx: Transaction, base_url: str, name: str, org_id: str | None) -> str:
    """See `Queue.join`."""
    by_name = identity(base_url, name=name)
    if org_id is None:
        organization = ensure(tx, by_name, name)
    else:
        organization = _learn(tx, by_name, identity(base_url, org_id=org_id), name)
    tx.change(sql.RENAME_ORGANIZATION, organization=organization["id"], name=name)
    return str(organization["identity"])


def _learn(tx: Transaction, by_name: str, by_id: str, name: str) -> Row:
    """The organization with this id; what was known under the name alone becomes part of it."""
    organization = ensure(tx, by_id, name)
    unnamed = find(tx, by_name)
    if unnamed is not None and unnamed["identity"] == by_name:
        organization = _merge(tx, unnamed["id"], organization["id"])
    if unnamed is None or unnamed["id"] != organization["id"]:
        tx.change(sql.POINT_IDENTITY, identity=by_name, of=by_id)
    return organization


# -- the bucket --------------------------------------------------------------------------------------------


def bucket(tx: Transaction, organization: Row) -> Bucket:
    """What is stored of an organization's bucket."""
    number = organization["id"]
    return Bucket(
        tokens=tuple(to_token(row) for row in tx.rows(sql.TOKENS, organization=number)),
        gate=to_gate(organization),
        last_grant=organization["last_grant"],
        held={Priority(row["priority"]): row["since"] for row in tx.rows(sql.HELD, organization=number)},
        last_limit=to_limit(organization["last_limit"]) if organization["last_limit"] else None,
    )


def follow_clock(tx: Transaction, organization: Row, now: float) -> Row:
    """The organization, after a database's clock that was set back has been allowed for.

    What was left of each wait at the last grant counts from now: nothing waits for as long as the clock was set back.
    """
    number, last = organization["id"], organization["last_grant"]
    changed = tx.change(sql.TOKENS_AHEAD, organization=number, now=now)
    changed += tx.change(sql.GATE_AHEAD, organization=number, now=now)
    if last is not None and last > now:
        tx.change(sql.TASKS_AHEAD, organization=number, now=now, shift=now - last)
        tx.change(sql.TURNS_AHEAD, organization=number)
        tx.change(sql.NOTE_GRANT, organization=number, now=now)
        changed += tx.change(sql.TOUCH_ORGANIZATION, organization=number)
    return (tx.row(sql.ORGANIZATION, organization=number) or organization) if changed else organization


def hold_all_tokens(tx: Transaction, name: str, limit: Limit, *, timeout: float, gained: float) -> None:
    """See `Queue.hold_all_tokens`."""
    organization = lock(tx, name)
    if organization is None:
        return
    now, wall, number = tx.now(), tx.epoch(), organization["id"]
    known = {row["number"] for row in tx.rows(sql.TOKENS, organization=number)}
    fresh = {"returns_at": now + limit.hold, "written_at": now, "written_wall": wall, "full_hold": limit.hold}
    for missing in set(range(1, limit.snapshots + 1)) - known:  # never out here, but maybe elsewhere
        tx.change(sql.WRITE_RETURN, organization=number, number=missing, **fresh, task=None, attempt=None)
    holds = {"hold": limit.hold, "longest": longest_hold(limit, timeout), "gained": gained}
    tx.change(sql.HOLD_TOKENS, organization=number, **holds, now=now, wall=wall)
    tx.change(sql.TOUCH_ORGANIZATION, organization=number)


def save_held(
    tx: Transaction, organization: int, before: Mapping[Priority, float], after: Mapping[Priority, float]
) -> None:
    """Write what has changed about classes held back."""
    for priority in before.keys() - after.keys():
        tx.change(sql.DROP_HELD, organization=organization, priority=int(priority))
    for priority, since in after.items():
        if before.get(priority) != since:
            tx.change(sql.PUT_HELD, organization=organization, priority=int(priority), since=since)


def save_gate(
    tx: Transaction, organization: int, gate: Gate | None, wall: float, probe: Lease | None = None
) -> None:
    """Write a gate; `probe` is the lease that probes it, if one does."""
    tx.change(sql.SAVE_GATE, organization=organization, **from_gate(gate, wall=wall, probe=probe))


# -- two become one ----------------------------------------------------------------------------------------


def _merge(tx: Transaction, source: int, target: int) -> Row:
    """Move everything of one organization into another, unless another process has done so while this one waited."""
    for number in sorted((source, target)):
        tx.row(sql.LOCK_ORGANIZATION, organization=number)
    rows = {number: tx.row(sql.ORGANIZATION, organization=number) or {} for number in (source, target)}
    if not rows[source]:
        return rows[target]
    now, wall = tx.now(), tx.epoch()
    _merge_tokens(tx, source, target, now)
    _merge_gates(tx, rows[source], rows[target], wall)
    _merge_held(tx, source, target)
    _merge_tasks(tx, source, rows[target], now)
    for statement in (
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
    probe = (kept["gate_probe_task"], kept["gate_probe_attempt"]) if kept["gate_probe_task"] else None
    save_gate(
        tx, target["id"], to_gate(kept), wall if kept["gate_wall"] is None else kept["gate_wall"], probe
    )
    grants = [row["last_grant"] for row in (source, target) if row["last_grant"] is not None]
    if grants:
        tx.change(sql.NOTE_GRANT, organization=target["id"], now=max(grants))


def _merge_held(tx: Transaction, source: int, target: int) -> None:
    known = {row["priority"]: row["since"] for row in tx.rows(sql.HELD, organization=target)}
    for row in tx.rows(sql.HELD, organization=source):
        since = min(row["since"], known.get(row["priority"], row["since"]))
        tx.change(sql.PUT_HELD, organization=target, priority=row["priority"], since=since)
    tx.change(sql.DROP_ALL_HELD, organization=source)


def _merge_tasks(tx: Transaction, source: int, target: Row, now: float) -> None:
    """Give the tasks their new keys. Leases in flight go on: they are known by the key they were granted under."""
    moves: list[Mapping[str, object]] = []
    for base_key, tasks in _by_base_key(tx, source, target).items():
        others = tx.rows(sql.GENERATIONS, base_key=base_key)
        if others:
            _renumber(tx, _united(tx, tasks, others, target, now), target)
        else:
            moves += [_rekeyed(task, target, task["generation"]) for task in tasks]
    tx.each(sql.MOVE_TASK, moves)


def _by_base_key(tx: Transaction, source: int, target: Row) -> dict[str, list[Row]]:
    """An organization's tasks by the base key that they are to have."""
    found: dict[str, list[Row]] = {}
    for task in tx.rows(sql.TASKS_OF, organization=source):
        found.setdefault(str(_rekeyed(task, target, 0)["base_key"]), []).append(task)
    return found


def _united(
    tx: Transaction, tasks: Sequence[Row], others: Sequence[Row], target: Row, now: float
) -> list[Row]:
    """All generations of a snapshot known under two keys, in the order of what they are to be.

    What was asked for plainly on both sides is one task: the more advanced stays, and if both may have been
    made, both do. A later generation was asked for although there was one already: it is never given up. What
    has expired comes before all that is left, since it stands for nothing that is asked for now.
    """
    sides = [_parted(side, tx.epoch()) for side in (tasks, others)]
    firsts = sorted((left[0] for _, left in sides if left), key=_rank)
    if len(firsts) == len(sides) and Status(firsts[0]["status"]) not in SENT:
        _drop(tx, firsts[0], firsts[1], target, now)
        del firsts[0]
    gone = sorted((row for gone, _ in sides for row in gone), key=_turn)
    return [*gone, *firsts, *sorted((row for _, left in sides for row in left[1:]), key=_turn)]


def _parted(side: Sequence[Row], epoch: float) -> tuple[list[Row], list[Row]]:
    """A side's generations: up to the last one that has expired, and after it."""
    rows = sorted(side, key=_turn)
    gone = max((number for number, row in enumerate(rows, start=1) if expired(row, epoch)), default=0)
    return rows[:gone], rows[gone:]


def _rank(row: Row) -> int:
    return ADVANCED.index(Status(row["status"]))


def _turn(row: Row) -> tuple[int, int]:
    return row["generation"], _rank(row)


def _drop(tx: Transaction, lesser: Row, kept: Row, target: Row, now: float) -> None:
    """Have all runs refer to the task that is kept; that a duplicate is possible is not forgotten."""
    phase, until = place(kept, now)
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
        tx.change(sql.MOVE_TASK, **_rekeyed(task, target, generation))


def _rekeyed(row: Row, target: Row, generation: int) -> dict[str, object]:
    """What changes in a task's row when it moves to an organization."""
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
