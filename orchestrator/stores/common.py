"""The durable queue over any database: each method of `Queue` is one transaction around its logic."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from orchestrator.bucket import Bucket, Wait
from orchestrator.errors import LeaseLost, StoreUnavailable, StoreUnusable
from orchestrator.model import Lease, Limit, Reason, Result, Run, RunState, Settlement, Snapshot, Status, Task
from orchestrator.queue import Ask, Kinds, RunView, Serving
from orchestrator.stores import evidence, hand, leases, organizations, runs
from orchestrator.stores import statements as sql
from orchestrator.stores.database import Database, Row
from orchestrator.stores.rows import from_kinds


class Store:
    """A `Queue` kept in a database. Its methods may be called from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owner: str | None = None
        self._own: set[str] = set()  # all ids that this process ever had: a lost session may cost it one
        self._known: set[tuple[str, int]] = set()  # leases that this process was told of
        self._granting = threading.Lock()

    # -- time and place --------------------------------------------------------------------------------
    def now(self) -> float:
        with self._database.read() as tx:
            return tx.now()

    def epoch(self) -> float:
        with self._database.read() as tx:
            return tx.epoch()

    def describe(self) -> str:
        return self._database.describe()

    def close(self) -> None:
        owner, self._owner = self._owner, None
        try:
            if owner is not None:
                self._sign_off(owner)
        except (StoreUnavailable, StoreUnusable):
            pass  # whoever looks next does it
        finally:
            self._database.close()

    def _sign_off(self, owner: str) -> None:
        """Leave nothing behind, unless there are leases for others to take over."""
        with self._database.write() as tx:
            tx.change(sql.STOP_SERVING, owner=owner)
            held = bool(tx.rows(sql.IN_FLIGHT, owner=owner))
            if not held:
                tx.change(sql.DROP_OWNER, owner=owner)
        if not held:
            self._database.forget(owner)

    # -- organizations ---------------------------------------------------------------------------------
    def join(self, base_url: str, name: str, org_id: str | None) -> str:
        with self._database.write() as tx:
            return organizations.join(tx, base_url, name, org_id)

    def present_identity(self, organization: str) -> str:
        with self._database.read() as tx:
            found = organizations.find(tx, organization)
            return organization if found is None else str(found["identity"])

    def names(self) -> Mapping[str, str]:
        with self._database.read() as tx:
            return {row["identity"]: row["name"] for row in tx.rows(sql.NAMES)}

    def bucket(self, organization: str) -> Bucket:
        with self._database.read() as tx:
            found = organizations.find(tx, organization)
            return Bucket(tokens=(), held={}) if found is None else organizations.bucket(tx, found)

    def hold_back(
        self, organization: str, limit: Limit, *, timeout: float = 0.0, gained: float = math.inf
    ) -> None:
        with self._database.write() as tx:
            organizations.hold_back(tx, organization, limit, timeout=timeout, gained=gained)

    # -- runs ------------------------------------------------------------------------------------------
    def start_run(self, run: Run, tasks: Sequence[Task], *, again: bool = False) -> Run:
        with self._database.write() as tx:
            return runs.start(tx, run, tasks, again=again)

    def look_again(self, run_id: str) -> None:
        with self._database.write() as tx:
            runs.look_again(tx, run_id)

    def latest(self, tasks: Sequence[Task]) -> Mapping[str, Result]:
        with self._database.read() as tx:
            return runs.latest(tx, tasks)

    def find_run(self, text: str) -> Run:
        with self._database.read() as tx:
            return runs.find(tx, text)

    def runs(self) -> list[RunView]:
        with self._database.read() as tx:
            return runs.views(tx)

    def view(self, run_id: str) -> RunView:
        with self._database.read() as tx:
            return runs.view(tx, run_id)

    def end_run(self, run_id: str, state: RunState) -> None:
        with self._database.write() as tx:
            runs.end(tx, run_id, state)

    def results(self, run_id: str, *, settled_since: float | None = None) -> Iterator[Result]:
        return self._all(run_id) if settled_since is None else self._settled(run_id, settled_since)

    def _all(self, run_id: str) -> Iterator[Result]:
        position = -1
        while True:
            with self._database.read() as tx:
                some = runs.results_after(tx, run_id, position)
            if not some:
                return
            yield from some
            position = some[-1].task.position

    def _settled(self, run_id: str, since: float) -> Iterator[Result]:
        with self._database.read() as tx:
            positions = runs.settled_positions(tx, run_id, since)
        for some in runs.batches(positions):
            with self._database.read() as tx:
                found = runs.results_at(tx, run_id, some)
            yield from (result for result in found if result.status.settled)

    def snapshots(self, *, settled_since: float | None = None) -> Iterator[tuple[str, Result]]:
        before = (sys.float_info.max, 0)
        while True:
            with self._database.read() as tx:
                some, before = runs.made(tx, settled_since or 0.0, before)
            if not some:
                return
            yield from some

    # -- making snapshots ------------------------------------------------------------------------------
    def serve(
        self,
        run_id: str,
        organizations: Collection[str],
        *,
        refused: Mapping[str, Kinds] | None = None,
        stopped: Mapping[str, Reason] | None = None,
    ) -> None:
        owner, kinds, why = self._me(), refused or {}, stopped or {}
        with self._database.write() as tx:
            tx.change(sql.STOP_SERVING_RUN, owner=owner, run=run_id)
            for identity in sorted(organizations):
                row = {"identity": identity, "refused": from_kinds(kinds.get(identity, ()))}
                tx.change(sql.SERVE, owner=owner, run=run_id, stopped=why.get(identity, ""), **row)

    def serving(self, run_id: str) -> Mapping[str, Sequence[Serving]]:
        with self._database.read() as tx:
            return runs.serving(tx, run_id)

    def grant(self, ask: Ask) -> Lease | Wait | None:
        owner = self._me()
        with self._granting:
            with self._database.write() as tx:
                granted = leases.grant(tx, ask, owner)
            if isinstance(granted, Lease):
                self._known.add((granted.task.key, granted.attempt))
        return granted

    def outlook(self, ask: Ask) -> Wait | None:
        with self._database.read() as tx:
            return leases.outlook(tx, ask)

    def sending(self, lease: Lease) -> None:
        with self._database.write() as tx:
            leases.sending(tx, lease)

    def settle(self, lease: Lease, settlement: Settlement, *, jitter: float = 0.0) -> None:
        with self._ending(lease), self._database.write() as tx:
            leases.settle(tx, lease, settlement, jitter=jitter)

    def give_back(self, lease: Lease) -> None:
        with self._ending(lease), self._database.write() as tx:
            leases.give_back(tx, lease)

    @contextlib.contextmanager
    def _ending(self, lease: Lease) -> Iterator[None]:
        """Forget the lease when it has ended or was lost, not when the store failed: it is ended later then."""
        try:
            yield
        except LeaseLost:
            self._known.discard((lease.task.key, lease.attempt))
            raise
        self._known.discard((lease.task.key, lease.attempt))

    def touch(self) -> None:
        with self._database.write() as tx:
            tx.change(sql.TOUCH_META)
            tx.remember_calendar(tx.now())

    def recover(self) -> int:
        self._follow_clock()
        with self._database.read() as tx:
            owners = [row["id"] for row in tx.rows(sql.OWNERS)]
            dead = [owner for owner in owners if owner != self._owner and not tx.alive(owner)]
        with self._granting:
            recovered = sum(self._take_over(owner, self._unheard) for owner in sorted(self._own))
        for owner in dead:
            recovered += self._take_over(owner, lambda _: True) if owner not in self._own else 0
            self._bury(owner)
        return recovered

    def _follow_clock(self) -> None:
        """See to organizations of before a clock that was set back: nobody may ever ask for a grant of theirs."""
        with self._database.read() as tx:
            ahead = [str(row["identity"]) for row in tx.rows(sql.GRANTED_AHEAD, now=tx.now())]
        for identity in ahead:
            with self._database.write() as tx:
                organization = organizations.lock(tx, identity)
                if organization is not None:
                    organizations.follow_clock(tx, organization, tx.now())

    def _take_over(self, owner: str, which: Callable[[Row], bool]) -> int:
        """End an owner's leases, each in a transaction of its own: they belong to several organizations."""
        with self._database.read() as tx:
            found = [row for row in tx.rows(sql.IN_FLIGHT, owner=owner) if which(row)]
        taken = 0
        for row in found:
            with self._database.write() as tx:
                if owner in self._own or not tx.alive(owner):
                    taken += leases.take_over(tx, row, owner)
        return taken

    def _unheard(self, row: Row) -> bool:
        """Whether one's own lease was granted, but the answer to the commit was lost."""
        return row["status"] == Status.LEASED and (row["lease_key"], row["attempt"]) not in self._known

    def _bury(self, owner: str) -> None:
        with self._database.write() as tx:
            if tx.alive(owner) or tx.rows(sql.IN_FLIGHT, owner=owner):
                return
            tx.change(sql.STOP_SERVING, owner=owner)
            tx.change(sql.DROP_OWNER, owner=owner)
        self._database.forget(owner)

    def _me(self) -> str:
        """This process's owner id, known to the store."""
        owner = self._database.claim()
        if owner != self._owner:
            with self._database.write() as tx:
                values = {"host": platform.node(), "pid": os.getpid(), "started": tx.epoch()}
                tx.change(sql.ADD_OWNER, id=owner, **values)
            self._owner = owner
            self._own.add(owner)
        return owner

    # -- uncertain tasks -------------------------------------------------------------------------------
    def evidence_due(self, run_id: str) -> list[tuple[Lease, Result]]:
        with self._database.read() as tx:
            return evidence.due(tx, run_id)

    def known_snapshots(self, organization: str) -> frozenset[str]:
        with self._database.read() as tx:
            return evidence.known_snapshots(tx, organization)

    def conclude(self, lease: Lease, *, found: Snapshot | None, how: str = "", resend: bool = False) -> bool:
        with self._database.write() as tx:
            return evidence.conclude(tx, lease, found=found, how=how, resend=resend)

    # -- by hand ---------------------------------------------------------------------------------------
    def retry_failed(self, run_id: str) -> int:
        with self._database.write() as tx:
            return hand.retry_failed(tx, run_id)

    def settle_by_hand(self, run_id: str, key: str, *, made: Snapshot | None) -> Result:
        with self._database.write() as tx:
            return hand.decide(tx, run_id, key, made)

    # -- watching --------------------------------------------------------------------------------------
    def versions(self, run_id: str) -> Mapping[str, int]:
        with self._database.read() as tx:
            return {row["identity"]: row["version"] for row in tx.rows(sql.VERSIONS, run=run_id)}
