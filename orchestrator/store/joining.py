"""Many organizations at the start of a run: those about which nothing is to be settled are joined together.

Nearly all of them are known as they are, or quite new and alone with their token. What else one may be, one
organization says by itself: `KnownOrganizations.join`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core import identity
from orchestrator.store import sharing_sql, sql
from orchestrator.store.database import Row, Transaction
from orchestrator.store.sharing import Digest, make_signs, read_digest_key

TOGETHER = 200
"""Organizations that are joined in one transaction: with SQLite some 20 ms, in which nobody else grants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """An organization as a start knows it: its name, its id as it was read or is `named`, its token's digest."""

    base_url: str
    name: str
    org_id: str | None = None
    named: str | None = None
    digest: Digest | None = None

    @property
    def by_name(self) -> str:
        """The identity by which it is known as long as its id was never read."""
        return identity(self.base_url, name=self.name)

    @property
    def identity(self) -> str:
        """The identity by what was read."""
        return self.by_name if self.org_id is None else identity(self.base_url, org_id=self.org_id)

    @property
    def proved(self) -> bool:
        """True if its id was read, and not only named."""
        return self.org_id is not None

    def signs(self, key: bytes) -> list[str]:
        """The signs that it may have in common with others."""
        return make_signs(key, self.base_url, self.org_id or self.named, self.digest)


class SortedOut:
    """Organizations as the store knows them: those that are `new` and alone, those that are known as they are, and others.

    Of the first two no bucket has to be locked: nobody can have one of what is new, and what is known stays as it is.
    """

    def __init__(self, tx: Transaction, joinings: Sequence[Joining]) -> None:
        key = read_digest_key(tx)
        self._signs = {one: one.signs(key) for one in joinings}
        meant = Counter(sign for some in self._signs.values() for sign in some)
        identities = sorted({name for one in joinings for name in (one.identity, one.by_name)})
        asked = (sql.ORGANIZATIONS, {"identities": identities})
        rows, held = tx.together([asked, (sharing_sql.HOLDERS, {"signs": list(meant)})]).rows
        self._rows: Mapping[str, Row] = {row["asked"]: row for row in rows}
        self._held = {(row["sign"], row["organization"]): row["proved"] for row in held}
        self._shared = {sign for sign, times in meant.items() if times > 1} | {row["sign"] for row in held}
        self.new = [one for one in joinings if self._is_new(one)]
        self._known = [one for one in joinings if self._is_known(one)]
        simple = {*self.new, *self._known}
        self.others = [one for one in joinings if one not in simple]

    def _is_new(self, one: Joining) -> bool:
        """True if nothing is known of it, and nobody else has one of its signs."""
        unknown = one.identity not in self._rows and one.by_name not in self._rows
        return unknown and self._shared.isdisjoint(self._signs[one])

    def _is_known(self, one: Joining) -> bool:
        """True if its name stands for it already, and so do all of its signs, as far as they are proved now."""
        row, named = self._rows.get(one.identity), self._rows.get(one.by_name)
        if row is None or named is None or row["id"] != named["id"]:
            return False
        return all(self._held.get((sign, row["id"]), -1) >= one.proved for sign in self._signs[one])

    def write(self, tx: Transaction, numbers: Mapping[str, int]) -> None:
        """Keep the names and signs of those that are new, by their numbers, and the new names of those that are known."""
        if self.new:
            names = [{"identity": one.by_name, "of": one.identity} for one in self.new]
            tx.each(sql.POINT_IDENTITY, names)
            tx.each(sharing_sql.ADD_SIGN, list(self._proofs(numbers)))
        called = {self._rows[one.identity]["id"]: one.name for one in self._known}
        before = {row["id"]: row["name"] for row in self._rows.values()}
        renamed = [{"organization": n, "name": name} for n, name in called.items() if before[n] != name]
        if renamed:
            tx.each(sql.RENAME_ORGANIZATION, renamed)

    def _proofs(self, numbers: Mapping[str, int]) -> Iterator[Mapping[str, object]]:
        for one in self.new:
            proof = {"organization": numbers[one.identity], "proved": one.proved}
            yield from ({"sign": sign, **proof} for sign in self._signs[one])
