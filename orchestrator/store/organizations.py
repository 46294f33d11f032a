"""Organizations: who shares a bucket, and what it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from orchestrator.core import Limit, Priority, identity
from orchestrator.ratelimit import Bucket, Gate, Token, longest_hold
from orchestrator.store import sql
from orchestrator.store.database import Database, Row, Transaction
from orchestrator.store.merging import merge
from orchestrator.store.rows import NO_PROBE, Probe, from_gate, to_gate, to_limit


class KnownOrganizations:
    """The organizations that a store knows: the identity and the names of each, and its bucket."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def join(self, base_url: str, name: str, org_id: str | None) -> str:
        """The identity of an organization, remembered with its name as an alias.

        With an `org_id` the bucket and the tasks known under the name alone are merged into the true one,
        the later return times winning; without one an identity learnt earlier for the same name is used.
        """
        by_name = identity(base_url, name=name)
        with self._database.write() as tx:
            if org_id is None:
                organization = ensure(tx, by_name, name)
            else:
                organization = _learn(tx, by_name, identity(base_url, org_id=org_id), name)
            tx.change(sql.RENAME_ORGANIZATION, organization=organization["id"], name=name)
        return str(organization["identity"])

    def present_identity(self, organization: str) -> str:
        """The identity by which an organization is known by now, or this one if it is not known; only reads."""
        with self._database.read() as tx:
            found = find(tx, organization)
        return organization if found is None else str(found["identity"])

    def names(self) -> Mapping[str, str]:
        """The user's latest name of each identity."""
        with self._database.read() as tx:
            return {row["identity"]: row["name"] for row in tx.rows(sql.NAMES)}

    def bucket(self, organization: str) -> Bucket:
        """The organization's tokens, gate and held classes, as they are now."""
        with self._database.read() as tx:
            found = find(tx, organization)
            return Bucket(tokens=(), held={}) if found is None else load_bucket(tx, found)

    def hold_all_tokens(
        self, organization: str, limit: Limit, *, timeout: float = 0.0, gained: float = math.inf
    ) -> None:
        """Have each token out for its whole hold from now, a full one at least: the store's clock was set forward.

        With an attempt's `timeout`, what was given back is out for as long as if its request had had no answer:
        it may have been granted too early, over one that has none. Tokens that are held already, and a clock that
        has `gained` so much more since: each is out for that much longer, and no longer than a whole hold from now.
        """
        with self._database.write() as tx:
            found = lock(tx, organization)
            if found is None:
                return
            now, wall, number = tx.now(), tx.epoch(), found["id"]
            known = {row["number"] for row in tx.rows(sql.TOKENS, organization=number)}
            fresh = {
                "returns_at": now + limit.hold,
                "written_at": now,
                "written_wall": wall,
                "full_hold": limit.hold,
            }
            for missing in set(range(1, limit.snapshots + 1)) - known:  # never out here, but maybe elsewhere
                tx.change(
                    sql.WRITE_RETURN, organization=number, number=missing, **fresh, task=None, attempt=None
                )
            holds = {"hold": limit.hold, "longest": longest_hold(limit, timeout), "gained": gained}
            tx.change(sql.HOLD_TOKENS, organization=number, **holds, now=now, wall=wall)
            tx.change(sql.TOUCH_ORGANIZATION, organization=number)


# -- finding and locking -----------------------------------------------------------------------------------


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
        lock_numbers(tx, missing)
        locked |= missing


def lock_numbers(tx: Transaction, numbers: Iterable[int]) -> None:
    """Lock organizations, in the same order as everybody does."""
    for number in sorted(numbers):
        tx.row(sql.LOCK_ORGANIZATION, organization=number)


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


def _learn(tx: Transaction, by_name: str, by_id: str, name: str) -> Row:
    """The organization with this id; what was known under the name alone becomes part of it."""
    organization = ensure(tx, by_id, name)
    unnamed = find(tx, by_name)
    if unnamed is not None and unnamed["identity"] == by_name:
        organization = merge(tx, unnamed["id"], organization["id"])
    if unnamed is None or unnamed["id"] != organization["id"]:
        tx.change(sql.POINT_IDENTITY, identity=by_name, of=by_id)
    return organization


# -- the bucket --------------------------------------------------------------------------------------------


def load_bucket(tx: Transaction, organization: Row) -> Bucket:
    """An organization's bucket as it is stored: without tokens that were never out."""
    number, last_limit = organization["id"], organization["last_limit"]
    tokens = tx.rows(sql.TOKENS, organization=number)
    return Bucket(
        tokens=tuple(Token(number=row["number"], returns_at=row["returns_at"]) for row in tokens),
        gate=to_gate(organization),
        last_grant=organization["last_grant"],
        held={Priority(row["priority"]): row["since"] for row in tx.rows(sql.HELD, organization=number)},
        last_limit=to_limit(last_limit) if last_limit else None,
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
    tx: Transaction, organization: int, gate: Gate | None, wall: float, probe: Probe = NO_PROBE
) -> None:
    """Write a gate; `probe` is the lease that probes it, if one does."""
    tx.change(sql.SAVE_GATE, organization=organization, **from_gate(gate, wall=wall, probe=probe))
