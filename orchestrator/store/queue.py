"""The queue: grants of a token and a task, and what this process still answers for.

A decision is computed by `orchestrator.ratelimit`; here its state is loaded and its outcome written. Whoever grants
has locked the row of the organization's bucket, and reads everything that counts after that, in new statements.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from orchestrator.core import (
    Lease,
    LeaseLost,
    Limit,
    Priority,
    Reason,
    RunState,
    Settlement,
    Status,
    StoreUnavailable,
)
from orchestrator.ratelimit import (
    Bucket,
    Decision,
    Demand,
    Go,
    Token,
    Wait,
    decide,
    evidence_time,
    longest_hold,
    pessimistic_return,
)
from orchestrator.store import leases, loss, organizations, sql
from orchestrator.store.database import Claim, Database, Row, Transaction
from orchestrator.store.rows import Phase, from_kinds, from_limit, kind, to_gate, to_lease, to_task

Kinds = Collection[tuple[str, bool]]
"""Kinds of request that a permission may be refused for within an organization: pairs of account group and is_public."""

LOOK_AGAIN = 1.0
"""Seconds between two looks at a task of which evidence is being looked for."""

Turns = dict[tuple[Phase, Priority], float]
"""The earliest `until` of a run's tasks in each phase and class that has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One process asking for a token of an organization, for a task of its run.

    `epoch` is the API's calendar (our wall clock corrected by the server's `Date`), by which windows
    end; `boot` the asking process's boot clock, read before the asking. `most` is for how many requests there is room.
    """

    organization: str
    run_id: str
    limit: Limit
    timeout: float
    epoch: float
    boot: float = 0.0
    without: frozenset[tuple[str, bool]] = frozenset()
    most: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The answer to one `Ask`: leases, at most as many as there was room for, and the wait for more if there were fewer.

    `left` is False where nothing of the run is left: no task queued, leased or sending, by whomever. `reached` is
    False where nobody has looked, since somebody else has the organization locked or the batch was full: ask again.
    """

    leases: tuple[Lease, ...] = ()
    wait: Wait | None = None
    left: bool = True
    reached: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of one attempt: what it comes to, or None where nothing was sent: its token is in at once then.

    `jitter`, from 0 to 1, is by how much of its share a gate that it closes stays closed longer.
    """

    lease: Lease
    settlement: Settlement | None
    jitter: float = 0.0


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
        """Tokens and tasks for many organizations, or what to wait for: one answer to each ask.

        Raises `StoreGone` when the store is not the one any more that others find by its name. After an error nothing
        is known to be granted: what was is queued again by `recover`.
        """
        grants = [self._grant(ask) for ask in asks]
        self._known.update((lease.task.key, lease.attempt) for grant in grants for lease in grant.leases)
        return grants

    def _grant(self, ask: Ask) -> Grant:
        leases_: list[Lease] = []
        while len(leases_) < ask.most:
            granted = self._grant_one(ask)
            if not isinstance(granted, Lease):
                left = granted is not None or bool(leases_)
                return Grant(leases=tuple(leases_), wait=granted, left=left)
            leases_.append(granted)
        return Grant(leases=tuple(leases_))

    def _grant_one(self, ask: Ask) -> Lease | Wait | None:
        self._database.verify()
        claim = self.register()
        with self._granting:
            with self._database.write() as tx:
                if self._database.claim() != claim:
                    raise StoreUnavailable(
                        f"{self._database.describe()}: the session was lost and a new one made"
                    )
                granted = _grant(tx, ask, claim.owner)
            self._database.verify()  # else nobody else would ever know of it
        return granted

    def outlook(self, ask: Ask) -> Wait | None:
        """The wait that `grant` would answer (None: there is none to wait for), without changing anything."""
        with self._database.read() as tx:
            organization = organizations.find(tx, ask.organization)
            run = _active_run(tx, ask)
            if organization is None or run is None:
                return None
            found = _decide(tx, ask, organization, run, tx.now())
        outcome = None if found is None else found[1].outcome
        return outcome if isinstance(outcome, Wait) else None

    def mark_sending(self, leases_: Sequence[Lease]) -> list[LeaseLost | None]:
        """Commit that the first bytes are about to leave; for each lease None, or that it was lost.

        Raises `StoreGone` as `grant` does.
        """
        return [_try(partial(self._mark_sending, lease)) for lease in leases_]

    def _mark_sending(self, lease: Lease) -> None:
        with self._database.write() as tx:
            task = leases.lock_leased(tx, lease, *leases.IN_FLIGHT)
            now = tx.now()
            first = now if task["first_sent_at"] is None else task["first_sent_at"]
            changes = {"status": Status.SENDING.value, "first_sent_at": first, "sent_wall": tx.epoch()}
            leases.save_task(tx, task, now, **changes)
        self._database.verify()

    def settle(self, ends: Sequence[End]) -> list[LeaseLost | None]:
        """Write the ends of attempts: results, states of tasks, returns of tokens, gates; for each None, or a lost lease.

        An UNCERTAIN settlement sets the time from which evidence may be looked for. What was taken over and
        is still uncertain is settled by an answer all the same. Where nothing was sent, it was no attempt.
        """
        return [_try(partial(self._settle, end)) for end in ends]

    def _settle(self, end: End) -> None:
        """Forget the lease when it has ended or was lost, not when the store failed: it is ended later then."""
        lease, settlement = end.lease, end.settlement
        try:
            with self._database.write() as tx:
                if settlement is None:
                    leases.queue_unsent(tx, leases.lock_leased(tx, lease, *leases.IN_FLIGHT))
                else:
                    leases.settle(tx, lease, settlement, jitter=end.jitter)
        except LeaseLost:
            self._known.discard((lease.task.key, lease.attempt))
            raise
        self._known.discard((lease.task.key, lease.attempt))

    # -- dead processes, and the end of this one -------------------------------------------------------
    def recover(self) -> int:
        """Take over from dead processes: what was leased is queued, what was sending is uncertain. How many.

        Also sees to a store's clock that was set back: no wait lasts for as long as that. And to this process being
        known to live.
        """
        self._follow_clock()
        own = self.register().owner if self._claim is not None else None
        with self._database.read() as tx:
            owners = [row["id"] for row in tx.rows(sql.NAMED_OWNERS)]
            dead = [owner for owner in owners if owner != own and not tx.alive(owner)]
        with self._granting:
            recovered = sum(self._take_over(owner, self._is_unheard) for owner in sorted(self._own))
        for owner in dead:
            recovered += self._take_over(owner, lambda _: True) if owner not in self._own else 0
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
                values = {"host": os.uname().nodename, "pid": os.getpid(), "started": tx.epoch()}
                tx.change(sql.ADD_OWNER, id=claim.owner, **values)
                for run_id, served in self._serving.items():
                    _declare(tx, claim.owner, run_id, served)
            self._claim = claim
            self._own.add(claim.owner)
        return claim

    def _follow_clock(self) -> None:
        """Allow for a clock that was set back also where nobody may ever ask for a grant again."""
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

    def _is_unheard(self, row: Row) -> bool:
        """True if one's own lease was granted, but the answer to the commit was lost."""
        return row["status"] == Status.LEASED and (row["lease_key"], row["attempt"]) not in self._known

    def _bury(self, owner: str) -> None:
        with self._database.write() as tx:
            if tx.alive(owner) or tx.rows(sql.IN_FLIGHT, owner=owner):
                return
            tx.change(sql.STOP_SERVING, owner=owner)
            tx.change(sql.DROP_OWNER, owner=owner)
        self._database.forget(owner)


def _try(act: Callable[[], None]) -> LeaseLost | None:
    """Do it; the lost lease that was in the way, if there was one."""
    try:
        act()
    except LeaseLost as lost:
        return lost
    return None


def _declare(tx: Transaction, owner: str, run_id: str, served: Collection[Row]) -> None:
    """Write for whom a process sends tasks of a run, instead of what was written before."""
    tx.change(sql.STOP_SERVING_RUN, owner=owner, run=run_id)
    for row in served:
        tx.change(sql.SERVE, owner=owner, run=run_id, **row)


# -- grants ------------------------------------------------------------------------------------------------


def _grant(tx: Transaction, ask: Ask, owner: str) -> Lease | Wait | None:
    organization = organizations.lock(tx, ask.organization)
    run = _active_run(tx, ask)
    if organization is None or run is None:
        return None
    now = tx.now()
    organization = organizations.follow_clock(tx, organization, now)
    found = _decide(tx, ask, organization, run, now)
    if found is None:
        return None
    bucket, decision = found
    organizations.save_held(tx, organization["bucket"], bucket.held, decision.held)
    if isinstance(decision.outcome, Wait):
        return decision.outcome
    return _write_grant(tx, ask, owner, organization, run, go=decision.outcome, now=now)


def _active_run(tx: Transaction, ask: Ask) -> Row | None:
    """The run if it is active, with what is known of a loss of the store."""
    run = tx.row(loss.GRANTING_RUN, run=ask.run_id)
    return run if run is not None and RunState(run["state"]) is RunState.ACTIVE else None


def _may_exist(run: Row) -> bool:
    """True if what the run sends may have been made already by what was lost, as long as no run has ended cleanly."""
    clean: float | None = run["clean_wall"]
    return run["lost_wall"] is not None and (clean is None or run["created_at"] <= clean)


def _decide(
    tx: Transaction, ask: Ask, organization: Row, run: Row, now: float
) -> tuple[Bucket, Decision] | None:
    """The bucket as it is, and whether the run may send; None: it has nothing left to send there."""
    number = organization["id"]
    turns = _turns(tx, ask.run_id, number, [kind(*pair) for pair in ask.without])
    if not turns:
        return None
    bucket = _fill(organizations.load_bucket(tx, organization), ask.limit)
    if run["lost_at"] is not None:
        bucket = _hold(bucket, run["lost_at"] + longest_hold(ask.limit, ask.timeout))
    demand = Demand(mine=_dues(turns, now, ask.epoch), others=_classes_of_others(tx, ask, organization, now))
    return bucket, decide(bucket, demand, ask.limit, now)


def _fill(bucket: Bucket, limit: Limit) -> Bucket:
    """The bucket with all of the limit's tokens: one that has no row yet was never out."""
    known = {token.number: token for token in bucket.tokens}
    numbers = range(1, limit.snapshots + 1)
    return replace(bucket, tokens=tuple(known.get(number, Token(number=number)) for number in numbers))


def _hold(bucket: Bucket, until: float) -> Bucket:
    """The bucket with no token in before this: nobody knows which ones were out."""
    held = (replace(token, returns_at=max(token.returns_at, until)) for token in bucket.tokens)
    return replace(bucket, tokens=tuple(held))


def _turns(tx: Transaction, run: str, organization: int, without: list[str]) -> Turns:
    rows = tx.rows(sql.EARLIEST, run=run, organization=organization, without=without)
    return {(Phase(r["phase"]), Priority(r["priority"])): r["until"] for r in rows if r["until"] is not None}


def _dues(turns: Turns, now: float, epoch: float) -> dict[Priority, tuple[float, Reason]]:
    """When the earliest task of each class is due, in store time, and why it is not before."""
    found: dict[Priority, tuple[float, Reason]] = {}
    for (phase, priority), until in turns.items():
        if phase is Phase.READY:
            due = (now, Reason.OWN_QUOTA)
        elif phase is Phase.WINDOW:
            left = until - epoch  # by itself: added to `now` first, the last instant would be rounded away
            due = (now + left, Reason.WINDOW_NOT_OVER)
        elif phase is Phase.BACKOFF:
            due = (until, Reason.BACKOFF)
        elif phase is Phase.LOOK:  # whoever looks has it queued; nobody says when
            due = (max(until, now + LOOK_AGAIN), Reason.EVIDENCE)
        else:
            continue
        found[priority] = min(due, found.get(priority, due))
    return found


def _classes_of_others(tx: Transaction, ask: Ask, organization: Row, now: float) -> frozenset[Priority]:
    """The classes in which others have due tasks for the same bucket, if a live process is able to send them."""
    others = {"bucket": organization["bucket"], "organization": organization["id"], "run": ask.run_id}
    owners: dict[str, list[str]] = {}
    for row in tx.rows(sql.OTHERS_SERVING, **others):
        if tx.alive(row["owner"]):
            owners.setdefault(row["refused"], []).append(row["owner"])
    found: set[Priority] = set()
    for refused, able in sorted(owners.items()):
        kinds = {"refused": refused, "without": json.loads(refused), "owners": able}
        rows = tx.rows(sql.CLASSES_OF_OTHERS, **others, **kinds, epoch=ask.epoch, now=now)
        found.update(Priority(row["priority"]) for row in rows)
    return frozenset(found)


def _write_grant(
    tx: Transaction, ask: Ask, owner: str, organization: Row, run: Row, *, go: Go, now: float
) -> Lease | None:
    """Write a grant: the task's lease, the token's pessimistic return, the probe if it is one."""
    bucket, wall = organization["bucket"], tx.epoch()
    chosen = _next_task(tx, ask, organization["id"], go.priority, now)
    if chosen is None:
        return None
    limit = from_limit(ask.limit)
    changes: Mapping[str, object] = {
        "status": Status.LEASED.value,
        "attempt": chosen["attempt"] + 1,
        "owner": owner,
        "lease_key": chosen["key"],
        "lease_run": ask.run_id,
        "lease_limit": limit,
        "lease_timeout": ask.timeout,
        "lease_token": go.token,
        "granted_at": now,
        "granted_wall": wall,
        "evidence_at": evidence_time(ask.limit, ask.timeout, now),
        "duplicate_possible": chosen["duplicate_possible"] or int(_may_exist(run)),
    }
    task = leases.save_task(tx, chosen, now, **changes)
    _take_token(tx, task, ask, bucket=bucket, now=now, wall=wall)
    tx.change(sql.NOTE_GRANT, bucket=bucket, now=now)
    if organization["last_limit"] != limit:
        tx.change(sql.NOTE_LIMIT, bucket=bucket, limit=limit)
    gate = to_gate(organization)
    if go.probe and gate is not None:
        probed = replace(gate, probe_until=task["evidence_at"])
        organizations.save_gate(tx, bucket, probed, organization["gate_wall"], (task["id"], task["attempt"]))
    tx.remember_calendar(now)
    return to_lease(task, to_task(task), granted_boot=ask.boot, probe=go.probe)


def _take_token(tx: Transaction, task: Row, ask: Ask, *, bucket: int, now: float, wall: float) -> None:
    """Have the token of a task's new lease out for as long as its request may take effect."""
    tx.change(
        sql.WRITE_RETURN,
        bucket=bucket,
        number=task["lease_token"],
        returns_at=pessimistic_return(ask.limit, ask.timeout, now),
        written_at=now,
        written_wall=wall,
        full_hold=ask.limit.hold,
        task=task["id"],
        attempt=task["attempt"],
    )


def _next_task(tx: Transaction, ask: Ask, organization: int, priority: Priority, now: float) -> Row | None:
    """The due task that comes first in the plan; what has become due joins the ready ones before."""
    turn = {"run": ask.run_id, "organization": organization, "priority": int(priority)}
    for phase, until in ((Phase.WINDOW, ask.epoch), (Phase.BACKOFF, now)):
        tx.change(sql.RELEASE, **turn, phase=int(phase), now=until)
    return tx.row(sql.NEXT_TASK, **turn, without=[kind(*pair) for pair in ask.without])
