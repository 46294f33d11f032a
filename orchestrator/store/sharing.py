"""Organizations that share a bucket: the signs they have in common, buckets that become one, and one that is parted.

A sign is the digest of a token, or an `orgId` that a job file names. Two organizations with one sign draw on one
bucket, unless both have proved by their `orgId` that it is theirs: then they are two with one token.
Why: docs/decisions/0013-one-token-one-bucket.md. Whoever changes anything here holds the lock of `read_digest_key`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterator, Sequence

from orchestrator.core import identity
from orchestrator.store import sharing_sql, sql
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import from_gate, probing_lease, to_gate, to_limit

Digest = Callable[[bytes], str]
"""The digest of a token under a key: the token itself does not come here."""

KEY_BYTES = 32
"""Random bytes of a store's key: as many as the digests made with it have."""


def read_digest_key(tx: Transaction) -> bytes:
    """The key for digests, of this store alone, made if need be; from here on nobody else changes who shares a bucket."""
    row = tx.row(sharing_sql.LOCK_SHARING) or {}
    key = row["digest_key"]
    if key is None:
        key = secrets.token_hex(KEY_BYTES)
        tx.change(sharing_sql.SET_DIGEST_KEY, digest_key=key)
    return bytes.fromhex(key)


def make_signs(key: bytes, base_url: str, org_id: str | None, digest: Digest | None) -> list[str]:
    """The signs of an organization at an address: its id as it was read or is named, and its token's digest."""
    signs = [] if org_id is None else [identity(base_url, org_id=org_id)]
    return signs if digest is None else [*signs, identity(base_url, name=f"token {digest(key)}")]


# -- several buckets become one ----------------------------------------------------------------------------


def unite(tx: Transaction, buckets: Collection[int]) -> int:
    """Make one bucket of some, which are locked; its number. The latest return times win, and the longest gate."""
    into, *others = sorted(buckets, reverse=True)
    for bucket in others:
        _unite_tokens(tx, bucket, into)
        _unite_gates(tx, bucket, into)
        for statement in (
            sharing_sql.RAISE_VERSION,
            sharing_sql.MOVE_HELD,
            sharing_sql.DROP_ALL_HELD,
            sharing_sql.MOVE_MEMBERS,
            sharing_sql.DROP_BUCKET,
        ):
            tx.change(statement, bucket=bucket, into=into)
    return into


def _unite_tokens(tx: Transaction, source: int, target: int) -> None:
    """Number the tokens of both anew, the latest return first: the highest numbers are beyond any limit.

    If both buckets had tokens out, more may be out now than the limit allows. No lease may then bring one
    back early: a token left out of account could still be out at that moment.
    """
    now = tx.now()
    sides = [tx.rows(sql.TOKENS, bucket=number) for number in (source, target)]
    crowded = all(any(row["returns_at"] > now for row in side) for side in sides)
    tokens = sorted((row for side in sides for row in side), key=lambda row: -row["returns_at"])
    for number in (source, target):
        tx.change(sql.DROP_TOKENS, bucket=number)
    for number, token in enumerate(tokens, start=1):
        holder = {"task": None, "attempt": None} if crowded else {}
        tx.change(sql.WRITE_RETURN, **{**token, "bucket": target, "number": number, **holder})


def _unite_gates(tx: Transaction, source: int, target: int) -> None:
    """The gate that is closed for longer stays, and the later of the last grants with its settings."""
    rows = [tx.row(sharing_sql.BUCKET, bucket=number) or {} for number in (source, target)]
    kept = max(rows, key=lambda row: row["gate_until"] or 0.0)
    wall = tx.epoch() if kept["gate_wall"] is None else kept["gate_wall"]
    gate = from_gate(to_gate(kept), wall=wall, probe=probing_lease(kept))
    tx.change(sql.SAVE_GATE, bucket=target, **gate)
    granted = [row for row in rows if row["last_grant"] is not None]
    if granted:
        latest = max(granted, key=lambda row: row["last_grant"])
        tx.change(sql.NOTE_GRANT, bucket=target, now=latest["last_grant"])
        tx.change(sql.NOTE_LIMIT, bucket=target, limit=latest["last_limit"])


# -- one bucket becomes several ----------------------------------------------------------------------------


def part(tx: Transaction, bucket: int) -> None:
    """Give those who turn out to be others a bucket of their own; the bucket is locked.

    Each has all tokens out for one hold: nobody knows any more whose requests they were for.
    """
    members = [row["id"] for row in tx.rows(sharing_sql.MEMBERS, bucket=bucket)]
    _, *leaving = (
        _groups(members, tx.rows(sharing_sql.SIGNS_OF_MEMBERS, bucket=bucket)) if len(members) > 1 else ((),)
    )
    if not leaving:
        return
    _hold_all(tx, bucket)
    for group in leaving:
        own = _copy(tx, bucket, founder=group[0])
        for organization in group:
            tx.change(sharing_sql.MOVE_MEMBER, organization=organization, bucket=own)
        tx.change(sql.TOUCH_BUCKET, bucket=own)


def _groups(members: Sequence[int], signs: Sequence[Row]) -> list[list[int]]:
    """Organizations that share a bucket, by the signs of each: `signs` has the unproved ones of each sign first."""
    leader = {member: member for member in members}

    def lead(member: int) -> int:
        while leader[member] != member:
            leader[member] = member = leader[leader[member]]
        return member

    for one, other in _pairs(signs):
        leader[lead(other)] = lead(one)
    groups: dict[int, list[int]] = {}
    for member in members:
        groups.setdefault(lead(member), []).append(member)
    return list(groups.values())


def _pairs(signs: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """The organizations that share a sign with the first one which has not proved it; none where all have."""
    first: Row | None = None
    for row in signs:
        if first is None or row["sign"] != first["sign"]:
            first = row
        if not first["proved"]:
            yield first["organization"], row["organization"]


def _hold_all(tx: Transaction, bucket: int) -> None:
    """Have all tokens of a bucket out for a hold at least; no lease brings one back before."""
    now, wall, tokens = tx.now(), tx.epoch(), tx.rows(sql.TOKENS, bucket=bucket)
    settings = (tx.row(sharing_sql.BUCKET, bucket=bucket) or {})["last_limit"]
    limit = to_limit(settings) if settings else None
    hold = max((limit.hold if limit else 0.0, *(row["full_hold"] for row in tokens)))
    returns = {row["number"]: row["returns_at"] for row in tokens}
    times = {"written_at": now, "written_wall": wall, "full_hold": hold, "task": None, "attempt": None}
    for number in {*returns, *range(1, limit.snapshots + 1 if limit else 1)}:
        later = max(returns.get(number, 0.0), now + hold)
        tx.change(sql.WRITE_RETURN, bucket=bucket, number=number, returns_at=later, **times)
    tx.change(sharing_sql.RAISE_VERSION, bucket=bucket, into=bucket)


def _copy(tx: Transaction, bucket: int, *, founder: int) -> int:
    """Another bucket with the same tokens out and the same gate; its number."""
    tx.change(sharing_sql.COPY_BUCKET, bucket=bucket, organization=founder)
    own = int((tx.row(sharing_sql.LATEST_BUCKET, organization=founder) or {})["id"])
    tx.change(sharing_sql.COPY_TOKENS, bucket=bucket, into=own)
    return own
