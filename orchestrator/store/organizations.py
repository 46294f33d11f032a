"""Organizations: who shares a bucket, and what it holds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator.core import Limit, Priority, identity
from orchestrator.ratelimit import Bucket, Token, longest_hold
from orchestrator.store import loss, sharing_sql, sql
from orchestrator.store.database import Database, Row, Statement, Transaction
from orchestrator.store.joining import TOGETHER, Joining, SortedOut
from orchestrator.store.merging import merge
from orchestrator.store.rows import to_gate, to_limit
from orchestrator.store.sharing import Digest, make_signs, part, read_digest_key, unite


class KnownOrganizations:
    """The organizations that a store knows: the identity and the names of each, and its bucket."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def join(
        self,
        base_url: str,
        name: str,
        org_id: str | None,
        *,
        named: str | None = None,
        digest: Digest | None = None,
    ) -> str:
        """The identity of an organization, remembered with its name as an alias.

        With an `org_id` the bucket and the tasks known under the name alone are merged into the true one,
        the later return times winning; without one an identity learnt earlier for the same name is used, and
        the bucket is shared with all that have the token of this `digest` or the `named` id in common.
        """
        by_name = identity(base_url, name=name)
        by_id = None if org_id is None else identity(base_url, org_id=org_id)
        with self._database.write() as tx:
            signs = make_signs(read_digest_key(tx), base_url, org_id or named, digest)
            organization = ensure(tx, by_id or by_name, name)
            before = organization if by_id is None else find(tx, by_name)
            proof = {"organization": organization["id"], "proved": by_id is not None}
            known = {row["sign"] for row in tx.rows(sharing_sql.KNOWN_SIGNS, **proof)}
            tx.each(sharing_sql.ADD_SIGN, [{"sign": sign, **proof} for sign in signs if sign not in known])
            if before is None or before["id"] != organization["id"] or not known.issuperset(signs):
                _connect(tx, by_name, before, organization, signs)
            if organization["name"] != name:
                tx.change(sql.RENAME_ORGANIZATION, organization=organization["id"], name=name)
        return str(organization["identity"])

    def join_all(self, joinings: Sequence[Joining]) -> list[str]:
        """The identities of many organizations, each joined as by `join`, in their order."""
        for first in range(0, len(joinings), TOGETHER):
            for one in self._join_simple(joinings[first : first + TOGETHER]):
                self.join(one.base_url, one.name, one.org_id, named=one.named, digest=one.digest)
        present = self.present_identities([one.identity for one in joinings])
        return [present.get(one.identity, one.identity) for one in joinings]

    def _join_simple(self, joinings: Sequence[Joining]) -> list[Joining]:
        """Join those that are known as they are, or new and alone; returned are the others."""
        with self._database.write() as tx:
            sorted_out = SortedOut(tx, joinings)
            rows = _ensure_all(tx, {one.identity: one.name for one in sorted_out.new})
            sorted_out.write(tx, {name: row["id"] for name, row in rows.items()})
        return sorted_out.others

    def present_identity(self, organization: str) -> str:
        """The identity by which an organization is known by now, or this one if it is not known; only reads."""
        return self.present_identities([organization]).get(organization, organization)

    def present_identities(self, organizations: Sequence[str]) -> Mapping[str, str]:
        """The identity by which each of these organizations is known by now, for those that are known."""
        with self._database.read() as tx:
            rows = tx.rows(sql.PRESENT_IDENTITIES, identities=list(organizations))
        return {row["asked"]: row["identity"] for row in rows}

    def names(self) -> Mapping[str, str]:
        """The user's latest name of each identity."""
        with self._database.read() as tx:
            return {row["identity"]: row["name"] for row in tx.rows(sql.NAMES)}

    def sharing(self, identities: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Those of these organizations that share a bucket, for each that is known: itself among them."""
        groups: dict[int, list[str]] = defaultdict(list)
        with self._database.read() as tx:
            for row in tx.rows(sql.BUCKETS, identities=list(identities)):
                groups[row["bucket"]].append(row["identity"])
        return {identity: group for group in groups.values() for identity in group}

    def bucket(self, organization: str, *, limit: Limit | None = None, timeout: float = 0.0) -> Bucket:
        """The organization's tokens, gate and held classes, as they are now.

        With a `limit`, all of its tokens as those who grant see them: out for a hold after the store was lost.
        """
        with self._database.read() as tx:
            found = find(tx, organization)
            bucket = Bucket(tokens=(), held={}) if found is None else load_bucket(tx, found)
            lost = tx.row(loss.LOST_AT) if limit is not None else None
        if limit is None or lost is None:
            return bucket
        known = {token.number: token.returns_at for token in bucket.tokens}
        until = lost["lost_at"] + longest_hold(limit, timeout)
        held = (
            Token(number=n, returns_at=max(known.get(n, until), until)) for n in range(1, limit.snapshots + 1)
        )
        return replace(bucket, tokens=tuple(held))

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
            now, wall, bucket = tx.now(), tx.epoch(), found["bucket"]
            known = {row["number"] for row in tx.rows(sql.TOKENS, bucket=bucket)}
            fresh = {
                "returns_at": now + limit.hold,
                "written_at": now,
                "written_wall": wall,
                "full_hold": limit.hold,
            }
            for missing in set(range(1, limit.snapshots + 1)) - known:  # never out here, but maybe elsewhere
                tx.change(sql.WRITE_RETURN, bucket=bucket, number=missing, **fresh, task=None, attempt=None)
            holds = {"hold": limit.hold, "longest": longest_hold(limit, timeout), "gained": gained}
            tx.change(sql.HOLD_TOKENS, bucket=bucket, **holds, now=now, wall=wall)
            tx.change(sql.TOUCH_BUCKET, bucket=bucket)


# -- finding and locking -----------------------------------------------------------------------------------


def find(tx: Transaction, name: str) -> Row | None:
    """The organization with this identity, or that once had it."""
    return tx.row(sql.FIND_ORGANIZATION, identity=name)


def lock(tx: Transaction, name: str) -> Row | None:
    """The organization, read after its bucket was locked."""
    organization, locked = find(tx, name), None
    while organization is not None and organization["bucket"] != locked:
        locked = organization["bucket"]
        lock_buckets(tx, {locked})
        organization = find(tx, name)
    return organization


def lock_all(tx: Transaction, names: Mapping[str, str]) -> dict[str, Row]:
    """All of these organizations, made if need be, their buckets locked; `names` are what a new one is called."""
    locked: set[int] = set()
    while True:
        found = _ensure_all(tx, names)
        missing = {organization["bucket"] for organization in found.values()} - locked
        if not missing:
            return found
        lock_buckets(tx, missing)
        locked |= missing


def lock_rows(tx: Transaction, read: Callable[[], list[Row]]) -> list[Row]:
    """Rows that each name a bucket, read behind the locks of all these buckets."""
    locked: set[int] = set()
    while True:
        rows = read()
        missing = {row["bucket"] for row in rows} - locked
        if not missing:
            return rows
        lock_buckets(tx, missing)
        locked |= missing


def lock_buckets(tx: Transaction, buckets: Iterable[int]) -> None:
    """Lock buckets, in the same order as everybody does."""
    tx.rows(sql.LOCK_BUCKETS, buckets=list(buckets))


def ensure(tx: Transaction, name: str, called: str) -> Row:
    """The organization with this identity, made if need be."""
    return _ensure_all(tx, {name: called})[name]


def _ensure_all(tx: Transaction, names: Mapping[str, str]) -> dict[str, Row]:
    """The organizations with these identities; those that nobody knows are made, all with the same few statements."""
    found = _find_all(tx, names)
    new = [
        {"identity": name, "of": name, "name": names[name]} for name in sorted(names.keys() - found.keys())
    ]
    if not new:
        return found
    for statement in (sql.ADD_ORGANIZATION, sql.ADD_BUCKET, sql.TAKE_BUCKET, sql.POINT_IDENTITY):
        tx.each(statement, new)
    return _find_all(tx, names)


def _find_all(tx: Transaction, names: Iterable[str]) -> dict[str, Row]:
    """Those of these organizations that are known."""
    return {row["asked"]: row for row in tx.rows(sql.ORGANIZATIONS, identities=list(names))}


def _share(
    tx: Transaction, organization: Row, *, joining: Iterable[int] = (), beside: Iterable[int] = ()
) -> int:
    """Have those `joining`, and all that share a sign with an organization, share its bucket; its number.

    It is locked then, and so are those `beside` it.
    """
    buckets = {organization["bucket"], *joining}
    buckets |= {
        row["bucket"] for row in tx.rows(sharing_sql.SHARING_BUCKETS, organization=organization["id"])
    }
    lock_buckets(tx, {*buckets, *beside})
    return unite(tx, buckets)


def _connect(
    tx: Transaction, by_name: str, before: Row | None, organization: Row, signs: Sequence[str]
) -> None:
    """Have a name stand for an organization, which shares a bucket by its signs, instead of for the one of `before`.

    What was known under the name alone becomes part of the organization.
    """
    if before is None or before["id"] == organization["id"]:
        part(tx, _share(tx, organization))
    elif before["identity"] == by_name:
        tx.change(sharing_sql.MOVE_SIGNS, organization=before["id"], into=organization["id"])
        tx.change(sharing_sql.DROP_SIGNS, organization=before["id"])
        bucket = _share(tx, organization, joining=[before["bucket"]])
        merge(tx, before["id"], tx.row(sql.ORGANIZATION, organization=organization["id"]) or {})
        part(tx, bucket)
    else:  # the name stood for another id: if that was all it had of this token, it shares nothing with it
        tx.change(sharing_sql.DROP_UNPROVED, organization=before["id"], signs=list(signs))
        bucket = _share(tx, organization, beside=[before["bucket"]])
        left = tx.row(sql.ORGANIZATION, organization=before["id"]) or {}
        for number in {bucket, left["bucket"]}:
            part(tx, number)
    tx.change(sql.POINT_IDENTITY, identity=by_name, of=organization["identity"])


# -- the bucket --------------------------------------------------------------------------------------------


def load_bucket(tx: Transaction, organization: Row) -> Bucket:
    """An organization's bucket as it is stored: without tokens that were never out."""
    of_bucket = {"bucket": organization["bucket"]}
    tokens, held = tx.together([(sql.TOKENS, of_bucket), (sql.HELD, of_bucket)]).rows
    last_limit = organization["last_limit"]
    return replace(
        to_bucket(organization, tokens, held), last_limit=to_limit(last_limit) if last_limit else None
    )


def to_bucket(organization: Row, tokens: Iterable[Row], held: Iterable[Row]) -> Bucket:
    """A bucket as its rows have it, but for the settings of the last grant."""
    return Bucket(
        tokens=tuple(Token(number=row["number"], returns_at=row["returns_at"]) for row in tokens),
        gate=to_gate(organization),
        last_grant=organization["last_grant"],
        held={Priority(row["priority"]): row["since"] for row in held},
    )


def follow_clock(tx: Transaction, organization: Row, now: float) -> Row:
    """The organization, after a database's clock that was set back has been allowed for.

    What was left of each wait at the last grant counts from now: nothing waits for as long as the clock was set back.
    """
    number, bucket, last = organization["id"], organization["bucket"], organization["last_grant"]
    changed = tx.change(sql.TOKENS_AHEAD, bucket=bucket, now=now)
    changed += tx.change(sql.GATE_AHEAD, bucket=bucket, now=now)
    if last is not None and last > now:
        tx.change(sql.TASKS_AHEAD, bucket=bucket, now=now, shift=now - last)
        tx.change(sql.TURNS_AHEAD, bucket=bucket)
        tx.change(sql.NOTE_GRANT, bucket=bucket, now=now)
        changed += tx.change(sql.TOUCH_BUCKET, bucket=bucket)
    return (tx.row(sql.ORGANIZATION, organization=number) or organization) if changed else organization


def change_held(
    bucket: int, before: Mapping[Priority, float], after: Mapping[Priority, float]
) -> Iterator[Statement]:
    """The statements that write what has changed about classes held back."""
    for priority in before.keys() - after.keys():
        yield sql.DROP_HELD, {"bucket": bucket, "priority": int(priority)}
    for priority, since in after.items():
        if before.get(priority) != since:
            yield sql.PUT_HELD, {"bucket": bucket, "priority": int(priority), "since": since}
