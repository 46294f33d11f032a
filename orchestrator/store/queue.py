"""The queue as a process uses it: grants, first bytes and ends of many organizations at once, and owners that live or died.

Each commit has at most `MOST` members. One that fails is made again member by member, so that nobody else's answer is
lost with it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence

from orchestrator.core import Lease, LeaseLost, Reason, StoreTrouble, StoreUnavailable
from orchestrator.ratelimit import Wait
from orchestrator.store import grants, leases, organizations, schema, sql
from orchestrator.store.database import Claim, Database, Row, Transaction
from orchestrator.store.grants import Ask, Grant
from orchestrator.store.leases import End
from orchestrator.store.rows import from_kinds

Kinds = Collection[tuple[str, bool]]
"""Kinds of request that a permission may be refused for within an organization: pairs of account group and is_public."""

MOST = 50
"""Organizations, or ends of attempts, in one commit: enough that its cost no longer counts, and some milliseconds."""

FAILING = 2
"""Ends that fail one after the other, each by itself: then it is the store, and those left would fare no better."""


class Queue:
    """Grants, and a task's life from its grant to its end; each method is one transaction of its own.

    May be called from several threads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claim: Claim | None = None  # as the store knows it
        self._own: set[str] = set()  # all ids that this process ever had: a lost session may cost it one
        self._serving: dict[str, list[Row]] = {}  # by run, as it was declared last
        self._known: set[tuple[str, int]] = set()  # leases that this process was told of
        self._granting = threading.Lock()

    # -- making snapshots ------------------------------------------------------------------------------
    def serve(
        self,
        run_id: str,
        organizations: Collection[str],
        *,
        refused: Mapping[str, Kinds] | None = None,
        stopped: Mapping[str, Reason] | None = None,
        until: Mapping[str, float | None] | None = None,
    ) -> None:
        """Declare for which organizations this live process sends tasks of the run.

        The kinds `refused` it there it does not send; `stopped` says why it sends nothing there at present, and `until`
        for how long that may change by itself (epoch seconds).
        """
        owner, kinds, why = self.register().owner, refused or {}, stopped or {}
        served: list[Row] = [
            {
                "identity": identity,
                "refused": from_kinds(kinds.get(identity, ())),
                "stopped": why.get(identity, ""),
                "until": (until or {}).get(identity),
            }
            for identity in sorted(organizations)
        ]
        with self._database.write() as tx:
            _declare(tx, owner, run_id, served)
        self._serving[run_id] = served

    def grant(self, asks: Sequence[Ask]) -> list[Grant]:
        """Tokens and tasks for many organizations in one commit, or what to wait for: one answer to each ask.

        Raises `StoreGone` when the store is not the one any more that others find by its name. After an error nothing
        is known to be granted: what was is queued again by `recover`.
        """
        self._database.verify()
        claim = self.register()
        with self._granting:
            with self._database.write() as tx:
                if self._database.claim() != claim:
                    raise StoreUnavailable(
                        f"{self._database.describe()}: the session was lost and a new one made"
                    )
                granted = grants.grant(tx, asks[:MOST], claim.owner)
            self._database.verify()  # else nobody else would ever know of it
            leases_ = [lease for one in granted for lease in one.leases]
            self._known.update((lease.task.key, lease.attempt) for lease in leases_)
        return [*granted, *(Grant(reached=False) for _ in asks[MOST:])]

    def outlook(self, asks: Sequence[Ask]) -> list[Wait | None]:
        """The waits that `grant` would answer (None: there is none to wait for), without changing anything."""
        waits: list[Wait | None] = []
        for first in range(0, len(asks), MOST):
            with self._database.read() as tx:
                waits += grants.outlook(tx, asks[first : first + MOST])
        return waits

    def mark_sending(self, held: Sequence[Lease]) -> list[LeaseLost | None]:
        """Commit that the first bytes are about to leave; for each lease None, or that it was lost.

        Raises `StoreGone` as `grant` does.
        """
        lost: list[LeaseLost | None] = []
        for first in range(0, len(held), MOST):
            with self._database.write() as tx:
                lost += leases.mark_sending(tx, held[first : first + MOST])
        self._database.verify()
        return lost

    def settle(self, ends: Sequence[End]) -> list[LeaseLost | None]:
        """Write the ends of attempts: results, states of tasks, returns of tokens, gates; for each None, or a lost lease.

        An UNCERTAIN settlement sets the time from which evidence may be looked for. What was taken over and
        is still uncertain is settled by an answer all the same. Where nothing was sent, it was no attempt. After an
        error some of them may be stored: those are told to be lost when they come again. Not so those that are made
        again here: whatever has ended them meanwhile, the commit that seemed to fail may have been it.
        """
        words: list[LeaseLost | None] = []
        for first in range(0, len(ends), MOST):
            words += self._settle_some(ends[first : first + MOST])
        return words

    def _settle_some(self, ends: Sequence[End]) -> list[LeaseLost | None]:
        """Settle as many as may be in one commit; each by itself where one of them stands in the way of the others.

        One that fails by itself keeps no other one back. Where two in a row fail it is the store that does.
        """
        words: list[LeaseLost | None] = []
        trouble, in_a_row = None, 0
        found, failed = self._settle_together(ends)
        for word in found:
            try:
                alone = self._settle_alone(word) if isinstance(word, End) else word
                words.append(None if failed else alone)
                in_a_row = 0 if isinstance(word, End) else in_a_row
            except StoreTrouble as error:
                trouble, in_a_row = error, in_a_row + 1
                if in_a_row == FAILING:
                    break
        if trouble is not None:
            raise trouble
        return words

    def _settle_together(self, ends: Sequence[End]) -> tuple[list[LeaseLost | End | None], bool]:
        """Settle in one commit; where that fails, and True says so, all of them come back as they are."""
        try:
            return self._commit(ends), False
        except StoreTrouble:
            if len(ends) == 1:
                raise
            return list(ends), True

    def _settle_alone(self, end: End) -> LeaseLost | None:
        while isinstance(word := self._commit([end])[0], End):
            pass  # its organization got another bucket while this waited for the lock
        return word

    def _commit(self, ends: Sequence[End]) -> list[LeaseLost | End | None]:
        """Settle in one commit. A lease is forgotten when it has ended or was lost, not when the store failed."""
        with self._database.write() as tx:
            words = leases.settle(tx, ends)
        for end, word in zip(ends, words, strict=True):
            if not isinstance(word, End):
                self._known.discard((end.lease.task.key, end.lease.attempt))
        return words

    # -- dead processes, and the end of this one -------------------------------------------------------
    def recover(self) -> int:
        """Take over from dead processes: what was leased is queued, what was sending is uncertain. How many.

        Also sees to a store's clock that was set back: no wait lasts for as long as that. And to this process being
        known to live.
        """
        own = self.register().owner if self._claim is not None else None
        with self._granting:
            with self._database.read() as tx:
                questions = (sql.GRANTED_AHEAD, sql.DEAD_OWNERS, sql.LEASED)
                seen = tx.together([(question, {"owners": sorted(self._own)}) for question in questions])
            ahead, dead, leased = seen.rows
            recovered = self._take_back([row for row in leased if self._is_unheard(row)])
        self._follow_clock(str(row["identity"]) for row in ahead)
        for owner in (row["id"] for row in dead if row["id"] != own):
            recovered += self._take_over(owner) if owner not in self._own else 0
            self._bury(owner)
        return recovered

    def leave(self) -> None:
        """Serve nothing more and leave nothing behind, unless there are leases for others to take over."""
        if self._claim is None:
            return
        owner, self._claim = self._claim.owner, None
        self._serving.clear()
        with self._database.write() as tx:
            tx.change(sql.STOP_SERVING, owner=owner)
            held = bool(tx.rows(sql.IN_FLIGHT, owner=owner))
            if not held:
                tx.change(sql.DROP_OWNER, owner=owner)
        if not held:
            self._database.forget(owner)

    def register(self) -> Claim:
        """This process's claim, known to the store with all that it serves: written again whenever it is taken anew."""
        claim = self._database.claim()
        if claim != self._claim:
            with self._database.write() as tx:
                schema.admit(tx, self._database.describe())
                values = {"host": os.uname().nodename, "pid": os.getpid(), "started": tx.epoch()}
                tx.change(sql.ADD_OWNER, id=claim.owner, **values)
                for run_id, served in self._serving.items():
                    _declare(tx, claim.owner, run_id, served)
            self._claim = claim
            self._own.add(claim.owner)
        return claim

    def _follow_clock(self, ahead: Iterable[str]) -> None:
        """Allow for a clock that was set back also where nobody may ever ask for a grant again."""
        for identity in ahead:
            with self._database.write() as tx:
                organization = organizations.lock(tx, identity)
                if organization is not None:
                    organizations.follow_clock(tx, organization, tx.now())

    def _take_back(self, unheard: Sequence[Row]) -> int:
        """Queue own leases again of which the grant was carried out, and only the answer to its commit was lost."""
        return sum(self._end_leases(owner, rows, dead=False) for owner, rows in _by_owner(unheard).items())

    def _take_over(self, owner: str) -> int:
        """End a dead owner's leases."""
        with self._database.read() as tx:
            found = tx.rows(sql.IN_FLIGHT, owner=owner)
        return self._end_leases(owner, found, dead=True)

    def _end_leases(self, owner: str, found: Sequence[Row], *, dead: bool) -> int:
        """End leases, some in each commit; those of which somebody else has the lock wait for the next look."""
        ended = 0
        for first in range(0, len(found), MOST):
            with self._database.write() as tx:
                ended += leases.take_over(tx, found[first : first + MOST], owner, dead=dead)
        return ended

    def _is_unheard(self, row: Row) -> bool:
        """True if one's own lease was granted, but the answer to the commit was lost."""
        return (row["lease_key"], row["attempt"]) not in self._known

    def _bury(self, owner: str) -> None:
        with self._database.write() as tx:
            if tx.alive(owner) or tx.rows(sql.IN_FLIGHT, owner=owner):
                return
            tx.change(sql.STOP_SERVING, owner=owner)
            tx.change(sql.DROP_OWNER, owner=owner)
        self._database.forget(owner)


def _by_owner(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["owner"], []).append(row)
    return found


def _declare(tx: Transaction, owner: str, run_id: str, served: Collection[Row]) -> None:
    """Write for whom a process sends tasks of a run, instead of what was written before."""
    tx.change(sql.STOP_SERVING_RUN, owner=owner, run=run_id)
    tx.each(sql.SERVE, ({"owner": owner, "run": run_id, **row} for row in served))
