"""Grant, send, settle, record, until the queue is empty.

One thread does it all in steps: collect what has ended and store it, tell about it, ask each organization
that may have a token for a grant, and say when to look again. A step never sleeps, so that several
workers can be driven side by side in virtual time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TypeVarTuple

from orchestrator import life
from orchestrator.bucket import Wait
from orchestrator.clock import Clock
from orchestrator.errors import GrantStale, LeaseLost, StoreUnavailable
from orchestrator.lane import Lane
from orchestrator.model import Lease, Reason, Result, RetryRules, Run, Settlement, Snapshot, Status
from orchestrator.outcome import Kind, Verdict, judge
from orchestrator.progress import Ending, Event, Observer, Progress, Waiting
from orchestrator.queue import Ask, Counts, Queue
from orchestrator.retry import FIRST_WAIT, Backoff
from orchestrator.scheduler import estimate_done
from orchestrator.sender import Looked, Sender, Sent

Ts = TypeVarTuple("Ts")

DRAIN = 20.0
"""Seconds that requests on the wire are given to finish after a signal."""

OVERLAP = 5.0
"""Seconds of settlements read again at each look: on PostgreSQL commits may become visible out of order."""

STORE_RETRY = 1.0
"""Seconds between looks at a store that does not answer."""


@dataclass(slots=True, kw_only=True)
class _Stop:
    """An early end: why, since when, and whether what is on the wire was cut."""

    because: str
    at: float
    aborted: bool = False


@dataclass(slots=True)
class _Reported:
    """Which tasks of the run have had their record, by position; grows one byte a task."""

    seen: bytearray = field(default_factory=bytearray)
    count: int = 0

    def first(self, position: int) -> bool:
        if position >= len(self.seen):
            self.seen.extend(bytes(position + 1 - len(self.seen)))
        if self.seen[position]:
            return False
        self.seen[position] = 1
        self.count += 1
        return True


class Worker:
    """Makes the snapshots of one run, for the organizations whose credential this process holds."""

    def __init__(
        self,
        run: Run,
        queue: Queue,
        sender: Sender,
        lanes: Mapping[str, Lane],
        clock: Clock,
        observer: Observer,
        *,
        rules: RetryRules,
        seed: int = 0,
        deadline: float | None = None,
    ) -> None:
        self._run, self._queue, self._sender, self._lanes = run, queue, sender, dict(lanes)
        self._clock, self._observer, self._rules = clock, observer, rules
        self._draw = Random(seed)  # noqa: S311 - jitter, not secrets
        self._started = clock.boot()
        self._deadline = math.inf if deadline is None else self._started + deadline
        self._poll = min((lane.limit.poll for lane in self._lanes.values()), default=1.0)
        self._reported = _Reported()
        self._versions: Mapping[str, int] = {}
        self._since = -math.inf
        self._watched = self._recovered = -math.inf
        self._announce = False
        self._looking: set[str] = set()
        self._unsettled: list[tuple[Lease, Settlement | None]] = []
        self._asked_to_stop: list[str] = []
        self._stop: _Stop | None = None
        self._store_failed: float | None = None
        self._store_look = -math.inf
        self._unreachable_since: float | None = None

    # -- the two ways of driving it ----------------------------------------------------------------------
    def work(self) -> Ending:
        """Step until the run has ended, sleeping in between; returns how it ended."""
        self.open()
        while (wake := self.step()) is not None:
            self._sender.wait(wake - self._clock.boot())
        return self.ending()

    def open(self) -> None:
        """Register for the organizations that can be served and take over what dead processes left."""
        self._queue.serve(self._run.id, self._served())
        self._queue.recover()
        self._observer.started(self._run, self._run.tasks)

    def ask_to_stop(self, because: str) -> None:
        """Have the next step stop; the only method that a signal's handler may call."""
        self._asked_to_stop.append(because)
        self._sender.wake()

    def stop(self, because: str) -> None:
        """End early: grant nothing more and let what is on the wire finish; a second call cuts it."""
        if self._stop is not None:
            self._cut()
            return
        self._stop = _Stop(because=because, at=self._clock.boot())
        self._sender.drain()
        self._tell("run.stopping", f"stopping: {because}; nothing more is sent, requests on the wire may finish", "warning")

    def step(self) -> float | None:
        """Do what can be done now; the boot time of the next look, or None when the run has ended."""
        now = self._clock.boot()
        while self._asked_to_stop:
            self.stop(self._asked_to_stop.pop(0))
        try:
            self._collect()
            self._watch(now)
            self._check_deadlines(now)
            if self._stop is None:
                self._grant_all(now)
            finished = self._finished()
        except StoreUnavailable as error:
            return self._store_trouble(error, now)
        self._store_back()
        self._show(now)
        return None if finished else self._next_look(now)

    def ending(self) -> Ending:
        """How the run ended, told to the observer; the store's registration is given up."""
        reasons: Counter[str] = Counter()
        counts = Counts()
        try:
            counts = self._queue.view(self._run.id).total
            reasons = self._pending_reasons()
            if counts.pending == 0 and self._stop is None:
                self._queue.end_run(self._run.id, "finished")
            self._queue.serve(self._run.id, ())
        except StoreUnavailable:
            self._stop = self._stop or _Stop(because="the store does not answer", at=self._clock.boot())
        code = self._exit_code(counts)
        seconds = self._clock.boot() - self._started
        ending = Ending(run=self._run, counts=counts, pending_reasons=dict(reasons), exit_code=code, seconds=seconds)
        self._observer.ended(ending)
        return ending

    # -- what has ended --------------------------------------------------------------------------------
    def _collect(self) -> None:
        """Store what has ended. All of it is looked at even when the store fails: nothing may be forgotten."""
        trouble: StoreUnavailable | None = None
        waiting, self._unsettled = self._unsettled, []
        for lease, settled in waiting:
            trouble = self._tried(self._write, lease, settled) or trouble
        for end in self._sender.done():
            trouble = self._tried(self._end, end) or trouble
        if trouble is not None:
            raise trouble

    @staticmethod
    def _tried(act: Callable[[*Ts], None], *what: *Ts) -> StoreUnavailable | None:
        try:
            act(*what)
        except StoreUnavailable as error:
            return error
        return None

    def _end(self, end: Sent | Looked) -> None:
        if isinstance(end, Looked):
            self._looked(end)
            return
        lane = self._lanes[end.lease.task.organization]
        lane.in_flight -= 1
        lane.look_at = 0.0
        if end.answer is None:
            if not isinstance(end.refused, LeaseLost):
                self._write(end.lease, None)
            return
        verdict = judge(end.answer, end.lease)
        if end.answer.status is not None:
            self._answered(lane, end.answer.date_offset)
        if verdict.kind is Kind.UNSENT:
            self._unreachable(lane, end.lease, verdict)
            return
        self._settle(lane, end.lease, verdict)

    def _settle(self, lane: Lane, lease: Lease, verdict: Verdict) -> None:
        scale = min(1.0, lane.limit.per / 300)
        backoff = Backoff(rules=self._rules, scale=scale)
        store_now = lease.granted_at + self._clock.boot() - lease.granted_boot
        settled = life.settlement(verdict, lease, backoff, now=store_now, draw=self._draw)
        self._learn(lane, lease, verdict)
        self._tell_verdict(lane, lease, verdict, settled)
        self._write(lease, settled)

    def _write(self, lease: Lease, settled: Settlement | None) -> None:
        """Store the end of an attempt (None: nothing was sent); kept for later when the store does not answer."""
        try:
            if settled is None:
                self._queue.give_back(lease)
            else:
                self._queue.settle(lease, settled, jitter=self._draw.random() if settled.closing else 0.0)
        except LeaseLost:
            self._tell("lease.lost", f"task {lease.task.short_key} was taken over by another process", "warning")
        except StoreUnavailable:
            self._unsettled.append((lease, settled))
            raise

    def _learn(self, lane: Lane, lease: Lease, verdict: Verdict) -> None:
        """What one answer says about the organization."""
        problem = verdict.problem.title if verdict.problem else ""
        if verdict.kind is Kind.CREATED and verdict.snapshot is not None:
            first = not lane.succeeded
            lane.success(lease.task)
            wrong = life.surprise(lease.task.expect_saved_event, verdict.snapshot) if first else None
            if wrong is not None:
                self._stop_lane(lane, Reason.PERMISSION_REFUSED, f"{wrong.title}; {wrong.detail}")
        elif verdict.kind is Kind.REJECTED:
            lane.confirmed = True
        elif verdict.kind is Kind.UNAUTHORIZED:
            if lane.reloaded or not lane.reload():
                self._stop_lane(lane, Reason.TOKEN_REFUSED, f"the token was refused (401): {problem}")
            lane.reloaded = True
        elif verdict.kind is Kind.FORBIDDEN and lane.forbidden(lease.task):
            group = lease.task.account_group or "the default"
            text = f"account group {group}, is_public {str(lease.task.is_public).lower()}: three requests were refused (403)"
            self._tell("organization.stopped", f"{lane.name}: {text}; the rest of them is not tried", "error")

    def _stop_lane(self, lane: Lane, reason: Reason, because: str) -> None:
        if lane.stopped is None:
            lane.stop(reason, because)
            self._announce = True
            self._tell("organization.stopped", f"{lane.name}: {because}; its other tasks stay pending", "error")

    # -- no connection -----------------------------------------------------------------------------------
    def _answered(self, lane: Lane, offset: float | None) -> None:
        lane.connect_failures, lane.unreachable_since, self._unreachable_since = 0, None, None
        if offset is not None:
            lane.offset = offset

    def _unreachable(self, lane: Lane, lease: Lease, verdict: Verdict) -> None:
        """Nothing was sent: the organization is left alone for a while; it was no attempt."""
        now = self._clock.boot()
        lane.connect_failures += 1
        wait = Backoff(rules=self._rules, scale=min(1.0, lane.limit.per / 300)).wait(lane.connect_failures, self._draw)
        lane.look_at = now + wait
        lane.unreachable_since = now if lane.unreachable_since is None else lane.unreachable_since
        self._unreachable_since = now if self._unreachable_since is None else self._unreachable_since
        lane.waiting, lane.waiting_until = Reason.API_UNREACHABLE, self._clock.wall() + wait
        title = verdict.problem.title if verdict.problem else "no connection"
        self._tell("attempt.unsent", f"{lane.name}: {title}; nothing was sent, next try in {wait:.0f} s", "warning", lease)
        self._write(lease, None)

    # -- uncertain tasks -----------------------------------------------------------------------------------
    def _seek_evidence(self) -> None:
        for lease, result in self._queue.evidence_due(self._run.id):
            lane = self._lanes.get(lease.task.organization)
            if lease.task.key in self._looking:
                continue
            if lane is None or lane.stopped is not None:
                self._conclude(lease, None, resend=False)
                continue
            self._looking.add(lease.task.key)
            self._sender.look(lease, result)

    def _looked(self, end: Looked) -> None:
        self._looking.discard(end.lease.task.key)
        task = end.lease.task
        offset = self._lanes[task.organization].offset
        known = self._queue.known_snapshots(task.organization)
        found = life.evidence(end.lease, end.result, end.tests, known, offset=offset)
        if found is not None:
            self._tell("evidence.found", f"test {task.test_id}: found the snapshot whose answer was lost", "info", end.lease)
        resend = found is None and life.resend(end.lease, end.result)
        if resend:
            self._tell("attempt.retry", f"test {task.test_id}: sent once more; it may then exist twice", "warning", end.lease)
        self._conclude(end.lease, found, resend=resend)

    def _conclude(self, lease: Lease, found: Snapshot | None, *, resend: bool) -> None:
        try:
            self._queue.conclude(lease, found=found, how="saved_event" if found else "", resend=resend)
        except LeaseLost:
            return  # another process concluded it

    # -- looking at the store ------------------------------------------------------------------------------
    def _watch(self, now: float) -> None:
        """See what other processes did: settled tasks, freed tokens, dead owners; tell them what changed here."""
        if self._announce:
            self._queue.serve(self._run.id, self._served())
            self._announce = False
        if now - self._recovered >= 10 * self._poll:
            self._recovered = now
            self._queue.recover()
        versions = self._queue.versions(self._run.id)
        changed = {identity for identity, version in versions.items() if self._versions.get(identity) != version}
        self._versions = versions
        for identity in changed & self._lanes.keys():
            lane = self._lanes[identity]
            if lane.waiting is not Reason.API_UNREACHABLE:
                lane.look_at = 0.0
        if changed or self._since == -math.inf:
            self._report()
        if now - self._watched >= self._poll:
            self._watched = now
            self._seek_evidence()

    def _report(self) -> None:
        at = self._queue.now()
        for result in self._queue.results(self._run.id, settled_since=self._since):
            if result.final and self._reported.first(result.task.position):
                self._observer.settled(result)
        self._since = at - OVERLAP

    # -- grants ------------------------------------------------------------------------------------------
    def _grant_all(self, now: float) -> None:
        for lane in sorted(self._lanes.values(), key=lambda lane: lane.look_at):
            if lane.look_at > now:
                break
            if lane.stopped is None:
                self._grant(lane, now)

    def _grant(self, lane: Lane, now: float) -> None:
        while lane.room > 0:
            boot = self._clock.boot()
            ask = Ask(
                organization=lane.identity,
                run_id=self._run.id,
                limit=lane.limit,
                timeout=lane.timeout,
                epoch=self._clock.wall() + lane.offset,
                boot=boot,
                without=lane.refused,
            )
            granted = self._queue.grant(ask)
            lane.empty = granted is None
            if not isinstance(granted, Lease):
                self._wait(lane, granted, now)
                return
            lane.waiting = lane.waiting_until = None
            lane.in_flight += 1
            self._sender.send(granted)
        lane.look_at = math.inf  # until an answer comes back, or the organization's version changes

    def _wait(self, lane: Lane, wait: Wait | None, now: float) -> None:
        if wait is None:
            lane.look_at, lane.waiting, lane.waiting_until = math.inf, None, None
            return
        delay = math.inf if wait.until is None else max(0.0, wait.until - self._queue.now())
        lane.waiting = wait.reason
        lane.waiting_until = None if wait.until is None else self._clock.wall() + delay
        polled = wait.until is None or wait.reason is Reason.OTHER_RUN
        lane.look_at = now + (min(delay, self._poll) if polled else delay)

    def _served(self) -> list[str]:
        return [identity for identity, lane in self._lanes.items() if lane.stopped is None]

    # -- when it ends ------------------------------------------------------------------------------------
    def _finished(self) -> bool:
        if any(lane.in_flight for lane in self._lanes.values()) or self._looking or self._unsettled:
            return False
        if self._stop is not None or self._reported.count >= self._run.tasks:
            return True
        if not all(lane.empty or lane.stopped is not None for lane in self._lanes.values()):
            return False
        return not self._unfinished_elsewhere()

    def _unfinished_elsewhere(self) -> bool:
        """Whether uncertain tasks still wait for their evidence."""
        counts = self._queue.view(self._run.id).total
        settled = counts.total - counts.pending
        return self._reported.count < settled

    def _check_deadlines(self, now: float) -> None:
        if self._stop is None and now >= self._deadline:
            self.stop("the deadline is reached")
        if self._stop is None and self._unreachable_since is not None:
            if now - self._unreachable_since >= self._rules.within:
                self.stop(f"nothing has answered for {self._rules.within:.0f} s")
        if self._stop is not None and not self._stop.aborted and now - self._stop.at >= DRAIN:
            self._cut()

    def _cut(self) -> None:
        if self._stop is not None and not self._stop.aborted:
            self._stop.aborted = True
            self._sender.abort()

    def _store_trouble(self, error: StoreUnavailable, now: float) -> float | None:
        """Fail closed: without the store nothing is sent; look again until it is back or `within` has passed."""
        if self._store_failed is None:
            self._store_failed = now
            self._tell("store.unavailable", f"{error}; nothing is sent until it answers", "error")
        given_up = now - self._store_failed >= self._rules.within
        if given_up or (self._stop is not None and now - self._stop.at >= DRAIN):
            self._stop = self._stop or _Stop(because="the store does not answer", at=now)
            return None
        self._show_store(now)
        return now + min(STORE_RETRY, 100 * self._poll)

    def _store_back(self) -> None:
        if self._store_failed is not None:
            self._store_failed = None
            self._announce = True
            self._tell("store.back", "the store answers again", "warning")

    def _exit_code(self, counts: Counts) -> int:
        if self._stop is not None:
            return 5
        if counts.pending:
            return 4
        return 3 if counts.failed or counts.uncertain else 0

    def _pending_reasons(self) -> Counter[str]:
        reasons: Counter[str] = Counter()
        for identity, counts in self._queue.view(self._run.id).counts.items():
            lane = self._lanes.get(identity)
            if counts.pending:
                reasons[self._why_pending(lane)] += counts.pending
        return reasons

    def _why_pending(self, lane: Lane | None) -> str:
        if lane is None:
            return Reason.TOKEN_REFUSED.value
        if lane.stopped is not None:
            return lane.stopped.value
        if lane.refused and self._stop is None:
            return Reason.PERMISSION_REFUSED.value
        if self._store_failed is not None:
            return Reason.STORE.value
        return (lane.waiting or Reason.OWN_QUOTA).value

    # -- telling -----------------------------------------------------------------------------------------
    def _next_look(self, now: float) -> float:
        if self._stop is not None:
            return now + self._poll
        return min(now + self._poll, min((lane.look_at for lane in self._lanes.values()), default=math.inf))

    def _show(self, now: float) -> None:
        view = self._queue.view(self._run.id)
        waiting = [self._waiting(lane, view.counts.get(lane.identity, Counts())) for lane in self._lanes.values()]
        shown = tuple(w for w in waiting if w is not None)
        self._observer.progress(Progress(now=self._clock.wall(), counts=view.total, waiting=shown))

    def _show_store(self, now: float) -> None:
        waiting = tuple(
            Waiting(organization=lane.name, reason=Reason.STORE, until=None, left=0) for lane in self._lanes.values()
        )
        self._observer.progress(Progress(now=self._clock.wall(), counts=Counts(), waiting=waiting))

    def _waiting(self, lane: Lane, counts: Counts) -> Waiting | None:
        if lane.waiting is None or not counts.pending:
            return None
        until = lane.waiting_until
        done = None if until is None else estimate_done(counts.queued, until=until, limit=lane.limit)
        return Waiting(
            organization=lane.name,
            reason=lane.waiting,
            until=until,
            left=counts.pending,
            done=done,
            slots=lane.limit.usable,
        )

    def _tell_verdict(self, lane: Lane, lease: Lease, verdict: Verdict, settled: Settlement) -> None:
        """A log event for everything but the plain success, whose record says it all."""
        title = verdict.problem.title if verdict.problem else verdict.kind.value
        test = f"{lane.name}: test {lease.task.test_id}"
        if settled.closing is not None:
            self._tell("attempt.refused", f"{test}: refused (429): {title}", "warning", lease)
        elif settled.status is Status.QUEUED and verdict.kind is Kind.SERVER_ERROR:
            self._tell("attempt.retry", f"{test}: {title}; next attempt in {settled.retry_in:.0f} s", "warning", lease)
        elif settled.status is Status.UNCERTAIN:
            self._tell("attempt.uncertain", f"{test}: {title}; nobody knows whether it was made", "warning", lease)
        else:
            self._tell("attempt.sent", f"{test}: {title}", "debug", lease)

    def _tell(self, name: str, text: str, level: str, lease: Lease | None = None) -> None:
        fields: tuple[tuple[str, object], ...] = ()
        if lease is not None:
            fields = (("task", lease.task.key), ("test_id", lease.task.test_id), ("attempt", lease.attempt))
        self._observer.happened(Event(name=name, text=text, level=level, fields=fields))
