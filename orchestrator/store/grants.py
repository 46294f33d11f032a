"""Grants: tokens and tasks for many organizations at once; each function is the inside of one transaction.

All that may count is read in one round trip behind the locks of the organizations' buckets, a decision is computed by
`orchestrator.ratelimit` for one organization after the other, and all is written with the commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from orchestrator.core import Lease, Limit, Priority, Reason, RunState, Status
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
from orchestrator.store import leases, organizations, sql
from orchestrator.store.database import Row, Seen, Statement, Transaction
from orchestrator.store.loss import GRANTING_RUNS
from orchestrator.store.rows import (
    Phase,
    from_gate,
    from_limit,
    kind,
    to_lease,
    to_task,
)

LOOK_AGAIN = 1.0
"""Seconds between two looks at a task of which evidence is being looked for."""

Turns = dict[tuple[Phase, Priority], float]
"""The earliest `until` of a run's tasks in each phase and class that has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One process asking for tokens of an organization, for tasks of its run.

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


class Grant(NamedTuple):
    """The answer to one `Ask`: leases, at most as many as there was room for, and the wait for more.

    Without a wait there is more to be had at once, or, with `left` False, nothing of the run is left: no task queued,
    leased or sending, by whomever. `reached` is False where nobody has looked, since somebody else has the
    organization locked or the batch was full: ask again.
    """

    leases: tuple[Lease, ...] = ()
    wait: Wait | None = None
    left: bool = True
    reached: bool = True


def grant(tx: Transaction, asks: Sequence[Ask], owner: str) -> list[Grant]:
    """Grant what can be granted, and commit: one answer to each ask, in their order.

    One that is alone waits for its organization's lock; of several those are left out that are not free at once.
    """
    lock = sql.LOCK_ASKED if len(asks) == 1 else sql.LOCK_ASKED_IF_FREE
    look = _look(tx, asks, lock)
    if _follow_clock(tx, look):
        look = _look(tx, asks, lock)
    _release(tx, look)
    writer = _Writer(look, owner)
    for place in sorted(look.places, key=lambda one: one.bucket):
        writer.grant(tx, place)
    touched = tx.finish(writer.statements)
    answers = {place.index: place.answer(touched) for place in look.places}
    return [answers.get(index, look.answers.get(index, Grant(left=False))) for index in range(len(asks))]


def outlook(tx: Transaction, asks: Sequence[Ask]) -> list[Wait | None]:
    """The waits that grants would be answered with (None: there is none to wait for), in their order, without a lock."""
    look = _look(tx, asks, sql.ASKED_BUCKETS)
    outcomes = {place.index: look.decide(place).outcome for place in look.places if place.turns}
    waits = {index: outcome for index, outcome in outcomes.items() if isinstance(outcome, Wait)}
    return [waits.get(index) for index in range(len(asks))]


# -- what counts -------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Place:
    """One ask at its organization: where its run's tasks stand, which are ready, and what is granted of them.

    `others` says where tasks of other runs stand that draw on the same bucket, if a living process is able to send
    them. `granted` has each lease with the index of the statement that writes it, `chosen` the numbers of the tasks.
    """

    index: int
    ask: Ask
    organization: Row
    run: Row
    turns: Turns
    others: Sequence[Row]
    ready: list[Row]
    granted: list[tuple[int, Lease]] = field(default_factory=list)
    chosen: set[int] = field(default_factory=set)
    wait: Wait | None = None

    @property
    def bucket(self) -> int:
        """The number of the organization's bucket."""
        return int(self.organization["bucket"])

    def demand(self, now: float) -> Demand:
        """The demand for the bucket's tokens, by this ask and by others."""
        epoch = self.ask.epoch
        due = (row for row in self.others if _is_due(Phase(row["phase"]), row["until"], now, epoch))
        others = frozenset(Priority(row["priority"]) for row in due)
        return Demand(mine=_dues(self.turns, now, epoch), others=others)

    def unreleased(self, now: float) -> list[tuple[Phase, Priority]]:
        """The phases and classes of which tasks have become due, and are not among the ready ones yet."""
        return [
            (phase, priority)
            for (phase, priority), until in self.turns.items()
            if phase in {Phase.WINDOW, Phase.BACKOFF} and _is_due(phase, until, now, self.ask.epoch)
        ]

    def take(self, tx: Transaction, priority: Priority) -> Row | None:
        """The ready task of a class that comes first in the plan; None if there was none of it after all.

        Read were the first ones of all classes: enough, unless a lower class has its turn before a higher one.
        """
        if not any(row["priority"] == priority for row in self.ready):
            of_class = (sql.NEXT_OF_CLASS, {**_ready_of(self.ask), "priority": int(priority)})
            (rows,) = tx.together([of_class]).rows if self._is_cut() else ([],)
            self.ready += [row for row in rows if row["id"] not in self.chosen]
        task = next((row for row in self.ready if row["priority"] == priority), None)
        if task is None:
            self.turns.pop((Phase.READY, priority), None)
            return None
        self.ready.remove(task)
        self.chosen.add(task["id"])
        if not self._is_cut() and not any(row["priority"] == priority for row in self.ready):
            self.turns.pop((Phase.READY, priority), None)
        return task

    def _is_cut(self) -> bool:
        """True if there may be more ready tasks than were read."""
        return len(self.ready) + len(self.chosen) > self.ask.most

    def answer(self, touched: Sequence[int]) -> Grant:
        """The answer; without a lease of which the task was changed meanwhile, which nobody does without the lock."""
        granted = tuple(lease for index, lease in self.granted if touched[index])
        return Grant(leases=granted, wait=self.wait, left=bool(self.turns or granted))


class _Look(NamedTuple):
    """All that was read for several asks, and when: places to decide on, and what their buckets hold.

    `answers` are those of the asks, by their index, that are not reached. `ahead` are the buckets of which something
    was written later than it is now: the database's clock was set back.
    """

    places: Sequence[_Place]
    answers: Mapping[int, Grant]
    buckets: dict[int, Bucket]
    ahead: Collection[int]
    now: float
    wall: float

    def decide(self, place: _Place) -> Decision:
        """Say if the run may send, with the bucket as it is."""
        ask, lost_at = place.ask, place.run["lost_at"]
        bucket = _fill(self.buckets[place.bucket], ask.limit)
        if lost_at is not None:
            bucket = _hold(bucket, lost_at + longest_hold(ask.limit, ask.timeout))
        return decide(bucket, place.demand(self.now), ask.limit, self.now)


def _look(tx: Transaction, asks: Sequence[Ask], lock: str) -> _Look:
    """Read everything in one round trip, behind the locks."""
    everywhere = {"identities": [ask.organization for ask in asks]}
    common: list[Statement] = [
        (lock, everywhere),
        (sql.ORGANIZATIONS, everywhere),
        (GRANTING_RUNS, {"runs": list({ask.run_id for ask in asks})}),
        (sql.TOKENS_ASKED, everywhere),
        (sql.HELD_ASKED, everywhere),
    ]
    groups = _group(asks)
    turns = [statement for group in groups for statement in _turns_of([asks[index] for index in group])]
    ready: list[Statement] = [(sql.NEXT_TASKS, _ready_of(ask)) for ask in asks]
    seen = tx.together([*common, *turns, *ready])
    return _interpret(asks, groups, seen)


def _group(asks: Sequence[Ask]) -> list[list[int]]:
    """The indexes of asks of one run and without the same kinds, together: usually all."""
    groups: dict[object, list[int]] = defaultdict(list)
    for index, ask in enumerate(asks):
        groups[ask.run_id, ask.without].append(index)
    return list(groups.values())


def _turns_of(group: Sequence[Ask]) -> list[Statement]:
    """The statements that say where tasks stand: those of one run, and those of all that it shares buckets with."""
    run = {"run": group[0].run_id, "identities": [ask.organization for ask in group]}
    return [
        (sql.EARLIEST, {**run, "without": _kinds(group[0])}),
        (sql.TURNS_OF_OTHERS, run),
        (sql.LIVING_OTHERS, run),
    ]


def _ready_of(ask: Ask) -> dict[str, object]:
    """One more than there is room for: then the wait that follows is known, too."""
    which = {"run": ask.run_id, "identity": ask.organization, "without": _kinds(ask)}
    return {**which, "some": ask.most + 1}


def _kinds(ask: Ask) -> list[str]:
    return [kind(*pair) for pair in ask.without]


def _interpret(asks: Sequence[Ask], groups: Sequence[Sequence[int]], seen: Seen) -> _Look:
    """The meaning of the rows that were read for several asks."""
    locked, found, runs, tokens, held, *rest = seen.rows
    turns, ready = rest[: 3 * len(groups)], rest[3 * len(groups) :]
    free, known = {row["id"] for row in locked}, {row["asked"]: row for row in found}
    active = {row["id"]: row for row in runs if RunState(row["state"]) is RunState.ACTIVE}
    places, answers = [], {}
    for number, group in enumerate(groups):
        stand = _Standing(*turns[3 * number : 3 * number + 3])
        for index in group:
            ask = asks[index]
            organization, run = known.get(ask.organization), active.get(ask.run_id)
            if organization is None or run is None:
                continue
            if organization["bucket"] not in free:  # locked by somebody, or it has another one since
                answers[index] = Grant(reached=False)
                continue
            place = _Place(
                index=index,
                ask=ask,
                organization=organization,
                run=run,
                turns=stand.turns(ask),
                others=stand.others(ask),
                ready=ready[index],
            )
            places.append(place)
    return _Look(
        places=places,
        answers=answers,
        buckets=_to_buckets(known.values(), tokens, held),
        ahead=_find_ahead(known.values(), tokens, seen.now),
        now=seen.now,
        wall=seen.wall,
    )


class _Standing:
    """Where the tasks of one run stand at several organizations, and those of others that share a bucket with it."""

    def __init__(self, earliest: Iterable[Row], others: Iterable[Row], living: Iterable[Row]) -> None:
        able = {row["owner"] for row in living}
        self._earliest, self._others = defaultdict(list), defaultdict(list)
        for row in earliest:
            self._earliest[row["asked"]].append(row)
        for row in others:
            if row["owner"] in able and row["until"] is not None:
                self._others[row["asked"]].append(row)

    def turns(self, ask: Ask) -> Turns:
        rows = (row for row in self._earliest[ask.organization] if row["until"] is not None)
        return {(Phase(row["phase"]), Priority(row["priority"])): row["until"] for row in rows}

    def others(self, ask: Ask) -> Sequence[Row]:
        return self._others[ask.organization]


def _to_buckets(known: Iterable[Row], tokens: Iterable[Row], held: Iterable[Row]) -> dict[int, Bucket]:
    """Buckets as they are stored."""
    tokens_of, held_of = defaultdict(list), defaultdict(list)
    for row in tokens:
        tokens_of[row["bucket"]].append(row)
    for row in held:
        held_of[row["bucket"]].append(row)
    return {
        row["bucket"]: organizations.to_bucket(row, tokens_of[row["bucket"]], held_of[row["bucket"]])
        for row in known
    }


def _find_ahead(known: Iterable[Row], tokens: Iterable[Row], now: float) -> set[int]:
    ahead = {row["bucket"] for row in tokens if row["written_at"] > now}
    for row in known:
        if (row["gate_closed_at"] or now) > now or (row["last_grant"] or now) > now:
            ahead.add(row["bucket"])
    return ahead


def _follow_clock(tx: Transaction, look: _Look) -> bool:
    """Allow for a database's clock that was set back; True if that changed anything."""
    behind = [place.organization for place in look.places if place.bucket in look.ahead]
    for organization in behind:
        organizations.follow_clock(tx, organization, look.now)
    return bool(behind)


def _release(tx: Transaction, look: _Look) -> None:
    """Have what has become due join the ready tasks, where something can be granted."""
    late = [(place, place.unreleased(look.now)) for place in look.places]
    late = [(place, due) for place, due in late if due and isinstance(look.decide(place).outcome, Go)]
    statements: list[Statement] = []
    for place, due in late:
        ask = place.ask
        statements += [_release_turn(place, *turn, now=look.now) for turn in due]
        mine = {"run": ask.run_id, "identities": [ask.organization], "without": _kinds(ask)}
        statements += [(sql.EARLIEST, mine), (sql.NEXT_TASKS, _ready_of(ask))]
    if not statements:
        return
    rows = iter(tx.together(statements).rows)
    for place, due in late:
        for _ in due:
            next(rows)
        place.turns = _Standing(next(rows), (), ()).turns(place.ask)
        place.ready = next(rows)


def _release_turn(place: _Place, phase: Phase, priority: Priority, *, now: float) -> Statement:
    turn = {"run": place.ask.run_id, "organization": place.organization["id"], "priority": int(priority)}
    until = place.ask.epoch if phase is Phase.WINDOW else now
    return sql.RELEASE, {**turn, "phase": int(phase), "now": until}


# -- what it means -----------------------------------------------------------------------------------------


def _fill(bucket: Bucket, limit: Limit) -> Bucket:
    """The bucket with all of the limit's tokens: one that has no row yet was never out."""
    known = {token.number: token for token in bucket.tokens}
    numbers = range(1, limit.snapshots + 1)
    return replace(bucket, tokens=tuple(known.get(number, Token(number=number)) for number in numbers))


def _hold(bucket: Bucket, until: float) -> Bucket:
    """The bucket with no token in before this: nobody knows which ones were out."""
    held = (replace(token, returns_at=max(token.returns_at, until)) for token in bucket.tokens)
    return replace(bucket, tokens=tuple(held))


def _is_due(phase: Phase, until: float, now: float, epoch: float) -> bool:
    """True if a task of this phase could be sent."""
    if phase is Phase.WINDOW:
        return until <= epoch
    return phase is Phase.READY or (phase is Phase.BACKOFF and until <= now)


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


def _may_exist(task: Row, run: Row) -> bool:
    """True if a run's task may have been made already by what was lost.

    So may all that was known by then, and until a run has ended cleanly also what nobody knows of.
    """
    lost, clean = run["lost_wall"], run["clean_wall"]
    if lost is None:
        return False
    known = [
        wall for wall in (task["queued_wall"], task["granted_wall"]) if wall is not None and wall <= lost
    ]
    return bool(known) or clean is None or run["created_at"] <= clean


# -- what is written ---------------------------------------------------------------------------------------


class _Writer:
    """Grants at one place after the other, each by what the ones before have left; the statements that write them."""

    def __init__(self, look: _Look, owner: str) -> None:
        self._look, self._owner = look, owner
        self._now, self._wall = look.now, look.wall
        self.statements: list[Statement] = []

    def grant(self, tx: Transaction, place: _Place) -> None:
        """Grant as much as there is room for; then it is known what more would have to wait for."""
        while place.turns:
            decision = self._look.decide(place)
            go = decision.outcome
            if isinstance(go, Go) and len(place.granted) >= place.ask.most:
                break
            self._save_held(place.bucket, decision.held)
            if isinstance(go, Wait):
                place.wait = go
                break
            task = place.take(tx, go.priority)
            if task is not None:
                self._lease(place, task, go)
        if place.granted:
            noted = {"now": self._now, "limit": from_limit(place.ask.limit)}
            self.statements.append((sql.NOTE_LEASES, {"bucket": place.bucket, **noted}))

    def _save_held(self, number: int, held: Mapping[Priority, float]) -> None:
        """Remember since when classes have been held back."""
        before = self._look.buckets[number]
        self.statements += organizations.change_held(number, before.held, held)
        self._look.buckets[number] = replace(before, held=held)

    def _lease(self, place: _Place, chosen: Row, go: Go) -> None:
        """Write a grant: the task's lease, the token's pessimistic return, the probe if it is one."""
        ask = place.ask
        changes: Mapping[str, object] = {
            "status": Status.LEASED.value,
            "attempt": chosen["attempt"] + 1,
            "owner": self._owner,
            "lease_key": chosen["key"],
            "lease_run": ask.run_id,
            "lease_limit": from_limit(ask.limit),
            "lease_timeout": ask.timeout,
            "lease_token": go.token,
            "granted_at": self._now,
            "granted_wall": self._wall,
            "evidence_at": evidence_time(ask.limit, ask.timeout, self._now),
            "duplicate_possible": int(chosen["duplicate_possible"] or _may_exist(chosen, place.run)),
        }
        task = {**chosen, **changes}
        lease = to_lease(task, to_task(task), granted_boot=ask.boot, probe=go.probe)
        place.granted.append((len(self.statements), lease))
        self.statements += leases.change_task(chosen, self._now, changes)
        self._take_token(place.bucket, task, ask)
        if go.probe:
            self._probe(place, task)

    def _take_token(self, number: int, task: Row, ask: Ask) -> None:
        """Have the token of a task's new lease out for as long as its request may take effect."""
        token = Token(
            number=task["lease_token"], returns_at=pessimistic_return(ask.limit, ask.timeout, self._now)
        )
        out = {"number": token.number, "returns_at": token.returns_at, "full_hold": ask.limit.hold}
        written = {"written_at": self._now, "written_wall": self._wall}
        lease = {"task": task["id"], "attempt": task["attempt"]}
        self.statements.append((sql.WRITE_RETURN, {"bucket": number, **out, **written, **lease}))
        bucket = self._look.buckets[number]
        others = (one for one in bucket.tokens if one.number != token.number)
        self._look.buckets[number] = replace(bucket, tokens=(*others, token), last_grant=self._now)

    def _probe(self, place: _Place, task: Row) -> None:
        """Have this lease be the one that probes the gate."""
        bucket, wall = self._look.buckets[place.bucket], place.organization["gate_wall"]
        if bucket.gate is None:
            return
        gate = replace(bucket.gate, probe_until=task["evidence_at"])
        columns = from_gate(gate, wall=wall, probe=(task["id"], task["attempt"]))
        self.statements.append((sql.SAVE_GATE, {"bucket": place.bucket, **columns}))
        self._look.buckets[place.bucket] = replace(bucket, gate=gate)
