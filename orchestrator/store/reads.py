"""Reads (GET) of organizations, reserved by all processes that read at once: together they keep to the general limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.ratelimit import ReadShare, end_reads, follow_clock, reserve_reads
from orchestrator.store import sql
from orchestrator.store.database import Database, Row
from orchestrator.store.sharing import Digest, make_signs, read_digest_key


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAsk:
    """A reader's wish for some reads under a ticket, after those under the `ended` tickets were answered: how many of each went out.

    `reader` is an organization's identity, or the sign of a token while that is not known; `timeout` the total deadline
    of one read in seconds.
    """

    reader: str
    ended: tuple[tuple[str, int], ...] = ()
    ticket: str = ""
    wanted: int = 0
    timeout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGrant:
    """The number of reads that may go; if none may, the seconds until one is back at the latest."""

    count: int
    wait: float = 0.0


class Reads:
    """The reads that are out, by reader."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._digest_key = b""

    def sign_of(self, base_url: str, digest: Digest) -> str:
        """The reader that a token is as long as nobody knows its organization."""
        if not self._digest_key:
            with self._database.write() as tx:
                self._digest_key = read_digest_key(tx)
        (sign,) = make_signs(self._digest_key, base_url, None, digest)
        return sign

    def reserve(self, asks: Sequence[ReadAsk]) -> list[ReadGrant]:
        """Give back what was read, and reserve what is wanted, for many readers in one short transaction."""
        readers = sorted({ask.reader for ask in asks})
        with self._database.write() as tx:
            tx.each(sql.ADD_READER, [{"reader": reader} for reader in readers])
            looked = {row["reader"]: row["returns_at"] for row in tx.rows(sql.LOCK_READERS, readers=readers)}
            found = _by_reader(tx.rows(sql.READ_SHARES, readers=readers))
            now = tx.now()
            shares = {one: follow_clock(found[one], last=looked[one], now=now) for one in readers}
            grants = []
            for ask in asks:
                mine = shares[ask.reader]
                for ticket, used in ask.ended:
                    mine = end_reads(mine, ticket, used, now=now)
                mine, count, wait = reserve_reads(mine, ask.ticket, ask.wanted, now=now, timeout=ask.timeout)
                shares[ask.reader] = mine
                grants.append(ReadGrant(count=count, wait=wait))
            tx.change(sql.DROP_READ_SHARES, readers=readers)
            look = ReadShare(ticket="", count=0, returns_at=now)
            rows = [_row(reader, one) for reader in readers for one in (look, *shares[reader])]
            tx.each(sql.PUT_READ_SHARE, rows)
        return grants


def _by_reader(rows: Sequence[Row]) -> dict[str, tuple[ReadShare, ...]]:
    found: dict[str, tuple[ReadShare, ...]] = defaultdict(tuple)
    for row in rows:
        share = ReadShare(ticket=row["ticket"], count=row["reads"], returns_at=row["returns_at"])
        found[row["reader"]] = (*found[row["reader"]], share)
    return found


def _row(reader: str, share: ReadShare) -> dict[str, object]:
    return {
        "reader": reader,
        "ticket": share.ticket,
        "reads": share.count,
        "returns_at": share.returns_at,
    }
