"""The durable queue over any database: each method of `Queue` is one transaction around its logic."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from orchestrator.core import (
    Lease,
    LeaseLost,
    Limit,
    Reason,
    Result,
    Run,
    RunState,
    Settlement,
    Snapshot,
    Status,
    StoreUnavailable,
    StoreUnusable,
    Task,
)
from orchestrator.ratelimit import Bucket, Wait
from orchestrator.store import leases, organizations, runs, sql, uncertain
from orchestrator.store.database import Database, Row
from orchestrator.store.rows import from_kinds
from orchestrator.store.views import Ask, RunView, Serving

Kinds = Collection[tuple[str, bool]]
"""What a permission may be refused for within an organization: pairs of account group and is_public."""


class Queue(Protocol):
    """A durable queue of tasks and the buckets they wait for."""

    # -- time and place --------------------------------------------------------------------------------
    def now(self) -> float:
        """The store's own clock, by which tokens return."""
        ...

    def epoch(self) -> float:
        """The calendar as the store has it (epoch seconds): for expiry and for showing store times."""
        ...

    def describe(self) -> str:
        """Where the store is, without secrets: `sqlite:////path`, `postgresql://host/db`."""
        ...

    def close(self) -> None:
        """Give up ownership and the connection. Leases still held are recovered by whoever looks next."""
        ...

    # -- organizations ---------------------------------------------------------------------------------
    def join(self, base_url: str, name: str, org_id: str | None) -> str:
        """The identity of an organization, remembered with its name as an alias.

        With an `org_id` the bucket and the tasks known under the name alone are merged into the true one,
        the later return times winning; without one an identity learnt earlier for the same name is used.
        """
        ...

    def present_identity(self, organization: str) -> str:
        """The identity by which an organization is known by now, or this one if it is not known; only reads."""
        ...

    def names(self) -> Mapping[str, str]:
        """The user's latest name of each identity."""
        ...

    def bucket(self, organization: str) -> Bucket:
        """The organization's tokens, gate and held classes, as they are now."""
        ...

    def hold_all_tokens(
        self, organization: str, limit: Limit, *, timeout: float = 0.0, gained: float = math.inf
    ) -> None:
        """Have each token out for its whole hold from now, a full one at least: the store's clock was set forward.

        With an attempt's `timeout`, what was given back is out for as long as if its request had had no answer:
        it may have been granted too early, over one that has none. Tokens that are held already, and a clock that
        has `gained` so much more since: each is out for that much longer, and no longer than a whole hold from now.
        """
        ...

    # -- runs ------------------------------------------------------------------------------------------
    def start_run(self, run: Run, tasks: Sequence[Task], *, again: bool = False) -> Run:
        """Freeze a plan under its run id, all or nothing; a run that exists is returned as it is.

        A task is matched with the latest generation of the same snapshot: created and not expired (by
        `epoch()`), uncertain or being worked on: the run refers to it; created and expired, or `again`:
        a new generation; failed: queued again. Raises `UsageError` when the run id belongs to another
        job name.
        """
        ...

    def look_again(self, run_id: str) -> None:
        """Have evidence for the run's uncertain tasks looked for once more, as when a run starts."""
        ...

    def latest(self, tasks: Sequence[Task]) -> Mapping[str, Result]:
        """What the store already knows of these tasks (latest generation), by their base key: for `plan`."""
        ...

    def find_run(self, text: str) -> Run:
        """The run with this id, unique prefix, or the latest for `last`; raises `UsageError` naming near ones."""
        ...

    def runs(self) -> list[RunView]:
        """All runs, the latest first."""
        ...

    def view(self, run_id: str) -> RunView:
        """One run with its counts by organization."""
        ...

    def end_run(self, run_id: str, state: RunState) -> None:
        """Set a run's state.

        It finishes only while it is active and nothing of it is pending: somebody may have queued a task of it
        again since it was looked at.
        """
        ...

    def results(self, run_id: str, *, settled_since: float | None = None) -> Iterator[Result]:
        """A run's tasks in the order of the plan; with `settled_since` those settled at or after that store time."""
        ...

    def snapshots(self, *, settled_since: float | None = None) -> Iterator[tuple[str, Result]]:
        """Every snapshot that is known as created, over all runs and each once, the latest first.

        With the id of the run that made it (empty: none did), which says what its organization is called.
        `settled_since` is epoch seconds. Otherwise the tasks are as `latest` has them: without job or priority.
        """
        ...

    # -- making snapshots ------------------------------------------------------------------------------
    def serve(
        self,
        run_id: str,
        organizations: Collection[str],
        *,
        refused: Mapping[str, Kinds] | None = None,
        stopped: Mapping[str, Reason] | None = None,
    ) -> None:
        """Declare for which organizations this live process sends tasks of the run.

        The kinds `refused` it there it does not send; `stopped` says why it sends nothing there at present.
        """
        ...

    def serving(self, run_id: str) -> Mapping[str, Sequence[Serving]]:
        """What the live processes of a run have declared, by organization identity."""
        ...

    def grant(self, ask: Ask) -> Lease | Wait | None:
        """A token and a task in one transaction, or what to wait for; None: nothing of the run is left there.

        "Left" are tasks queued, leased or sending, by whomever.
        """
        ...

    def outlook(self, ask: Ask) -> Wait | None:
        """What `grant` would say to wait for (None: nothing to wait for), without changing anything."""
        ...

    def sending(self, lease: Lease) -> None:
        """Commit that the first byte is about to leave. Raises `LeaseLost`."""
        ...

    def settle(self, lease: Lease, settlement: Settlement, *, jitter: float = 0.0) -> None:
        """Write the attempt's result, the task's state, the token's return and the gate in one commit.

        An UNCERTAIN settlement sets the time from which evidence may be looked for. What was taken over and
        is still uncertain is settled by an answer all the same. Raises `LeaseLost`.
        """
        ...

    def give_back(self, lease: Lease) -> None:
        """Nothing was sent: the token is in at once and the task is queued again. No attempt. Raises `LeaseLost`."""
        ...

    def touch(self) -> None:
        """Write something that changes nothing, to find out whether the store takes it."""
        ...

    def recover(self) -> int:
        """Take over from dead processes: what was leased is queued, what was sending is uncertain. How many.

        Also sees to a store's clock that was set back: no wait lasts for as long as that.
        """
        ...

    # -- uncertain tasks -------------------------------------------------------------------------------
    def evidence_due(self, run_id: str) -> list[tuple[Lease, Result]]:
        """Uncertain tasks of the run whose evidence may be looked for now, with the attempt that left them.

        The leases are this run's, whichever run made the attempt.
        """
        ...

    def known_snapshots(self, organization: str) -> frozenset[str]:
        """Ids of saved events and snapshots that the store already has for an organization."""
        ...

    def conclude(self, lease: Lease, *, found: Snapshot | None, how: str = "", resend: bool = False) -> bool:
        """End the search for evidence: created as found, queued once more (flagged), or uncertain for good.

        Whether it was queued: in a run that was cancelled nobody would send it.
        """
        ...

    # -- by hand ---------------------------------------------------------------------------------------
    def retry_failed(self, run_id: str) -> int:
        """Queue the run's failed tasks again; how many. A finished run is active again, a cancelled one is not."""
        ...

    def settle_by_hand(self, run_id: str, key: str, *, made: Snapshot | None) -> Result:
        """Settle an uncertain task, by the beginning of its key: created as `made`, or (None) queued again.

        A finished run of which a task is queued again is active again; a cancelled one stays so.
        Raises `UsageError` when no uncertain task of the run, or more than one, is meant.
        """
        ...

    # -- watching --------------------------------------------------------------------------------------
    def versions(self, run_id: str) -> Mapping[str, int]:
        """A number for each organization of the run that changes whenever a task or token of it does."""
        ...


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

    def hold_all_tokens(
        self, organization: str, limit: Limit, *, timeout: float = 0.0, gained: float = math.inf
    ) -> None:
        with self._database.write() as tx:
            organizations.hold_all_tokens(tx, organization, limit, timeout=timeout, gained=gained)

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
            return uncertain.due(tx, run_id)

    def known_snapshots(self, organization: str) -> frozenset[str]:
        with self._database.read() as tx:
            return uncertain.known_snapshots(tx, organization)

    def conclude(self, lease: Lease, *, found: Snapshot | None, how: str = "", resend: bool = False) -> bool:
        with self._database.write() as tx:
            return uncertain.conclude(tx, lease, found=found, how=how, resend=resend)

    # -- by hand ---------------------------------------------------------------------------------------
    def retry_failed(self, run_id: str) -> int:
        with self._database.write() as tx:
            return uncertain.retry_failed(tx, run_id)

    def settle_by_hand(self, run_id: str, key: str, *, made: Snapshot | None) -> Result:
        with self._database.write() as tx:
            return uncertain.decide(tx, run_id, key, made)

    # -- watching --------------------------------------------------------------------------------------
    def versions(self, run_id: str) -> Mapping[str, int]:
        with self._database.read() as tx:
            return {row["identity"]: row["version"] for row in tx.rows(sql.VERSIONS, run=run_id)}
