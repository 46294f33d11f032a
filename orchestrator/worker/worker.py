"""Grant, send, settle, record, until the queue is empty.

One thread does it all in steps: collect what has ended and store it, tell about it, ask each organization
that may have a token for a grant, and say when to look again. A step never sleeps, so that several
workers can be driven side by side in virtual time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import TypeVarTuple

from orchestrator.api import Outcome, Verdict, judge
from orchestrator.core import (
    Clock,
    Counts,
    Ending,
    Event,
    GrantStale,
    Lease,
    LeaseLost,
    Observer,
    Problem,
    Reason,
    RetryRules,
    Run,
    RunState,
    Settlement,
    StoreUnavailable,
    StoreUnusable,
)
from orchestrator.ratelimit import CLOSINGS_TO_DOUBLE, Backoff, Wait
from orchestrator.store import Ask, RunView, Store
from orchestrator.worker import ending, notices, settlement
from orchestrator.worker.organization import (
    REFUSALS,
    Agenda,
    ApiCalendar,
    ServedOrganization,
    ServedOrganizations,
)
from orchestrator.worker.progress import Showing
from orchestrator.worker.reconcile import Evidence
from orchestrator.worker.sender import Looked, Sender, Sent
from orchestrator.worker.shutdown import Stopping
from orchestrator.worker.watch import Watch

STORE_RETRY = 1.0
"""Seconds between looks at a store that does not answer."""

ORDINARY_PERIOD = 300.0
"""Waits between attempts are meant for the documented period; a shorter one (in tests) shortens them."""

POLLS_PER_THOROUGH_LOOK = 10
"""Looks at the store between two that do not rely on what has changed."""

TIMED = (Reason.OWN_QUOTA, Reason.FOREIGN_QUOTA, Reason.WINDOW_NOT_OVER, Reason.BACKOFF)
"""Waits whose end is known: a look without the organization's lock can tell whether it has moved."""

STORE_TROUBLE = (StoreUnavailable, StoreUnusable)
"""Once a run has begun, a store that became unwritable is waited for like one that does not answer."""

TOO_SLOW = Verdict(
    outcome=Outcome.UNSENT, problem=Problem(title="the connection, or the store, took too long")
)
"""What a grant that grew stale means: a network that slow, or a machine that slept, counts as no connection."""

Ts = TypeVarTuple("Ts")


class Worker:
    """Makes the snapshots of one run, for the organizations whose credential this process holds."""

    def __init__(
        self,
        run: Run,
        store: Store,
        sender: Sender,
        lanes: Mapping[str, ServedOrganization],
        clock: Clock,
        *,
        observer: Observer,
        rules: RetryRules,
        seed: int = 0,
        deadline: float | None = None,
    ) -> None:
        self.run, self._store, self._sender = run, store, sender
        self._lanes = ServedOrganizations(lanes, store.organizations.present_identity)
        self._flying: dict[tuple[str, int], ServedOrganization] = {}
        self._clock, self._observer, self._rules = clock, observer, rules
        self._draw = Random(seed)
        self._started, self._set_at = clock.boot(), clock.wall() - clock.boot()
        for lane in self._lanes:
            if lane.calendar.offset:
                lane.calendar = ApiCalendar.read(lane.calendar.offset, wall=clock.wall(), boot=clock.boot())
        self._poll = min((lane.limit.poll for lane in self._lanes), default=1.0)
        self._agenda = Agenda(self._lanes)
        self._watch = Watch(run.id, store, observer, self._lanes, poll=self._poll)
        self._evidence = Evidence(run.id, store, sender, self._lanes, observer, rules=rules, draw=self._draw)
        self._stopping = Stopping(
            sender, observer, ends_at=math.inf if deadline is None else self._started + deadline
        )
        self._showing = Showing(run, store, self._lanes, clock, observer, lost=self._watch.lost)
        self._announce, self._touched = False, True
        self._unsettled: list[tuple[Lease, Settlement | None]] = []
        self._store_failed: float | None = None
        self._unreachable_since: float | None = None
        self._looked = self._thorough = -math.inf

    # -- driving it --------------------------------------------------------------------------------------
    def work(self) -> Ending:
        """Step until the run has ended, sleeping in between; returns how it ended."""
        self.open()
        while (wake := self.step()) is not None:
            self._sender.wait(wake - self._clock.boot())
        return self.ending()

    def open(self) -> None:
        """Tell the observer that the run begins; the first step declares which organizations are served."""
        self._observer.on_start(self.run, self.run.tasks)
        self._announce = True

    def ask_to_stop(self, because: str) -> None:
        """Have the next step stop, or cut what is on the wire when asked again; safe in a signal's handler."""
        self._stopping.ask(because)
        self._sender.wake()

    def step(self) -> float | None:
        """Do what can be done now; the boot time of the next look, or None when the run has ended."""
        now = self._clock.boot()
        self._stopping.check(now, silent_for=self._silent_for(now), patience=self._rules.within)
        try:
            self._collect()
            self._look(now)
            self._watch.hold_all_tokens(self._clock.boot)
            if not self._stopping.begun:
                self._grant_all(now)
            finished = self._finished()
            self._showing.show(now, always=finished)
        except STORE_TROUBLE as error:
            return self._store_trouble(error, now)
        self._store_back()
        return None if finished else self._next_look(now)

    def ending(self) -> Ending:
        """How the run ended, told to the observer; the store's registration is given up."""
        try:
            view = self._store.views.run(self.run.id)
            reasons = ending.reasons(view, self._lanes, stopping=self._stopping.begun)
            self._watch.report(thorough=True)  # what was told to have failed may have been made since
            if view.total.pending or self._watch.reported < view.total.settled:
                self._watch.report_rest()
            early = self._stopping.begun and bool(view.total.pending or view.total.uncertain)
            if not (view.total.pending or early or view.run.state is RunState.CANCELLED):
                self._store.runs.end(self.run.id, RunState.FINISHED)
            self._store.queue.serve(self.run.id, ())
        except STORE_TROUBLE:
            self._stopping.begin("the store does not answer", self._clock.boot())
            view, early = self._showing.last_view, True
            reasons = dict.fromkeys(view.counts, Reason.STORE.value)
        ended = Ending(
            run=view.run,
            counts=view.total,
            pending_reasons=ending.numbered(reasons, view),
            reasons=reasons,
            exit_code=ending.exit_code(view, self._lanes, early=early),
            seconds=self._clock.boot() - self._started,
        )
        self._observer.on_end(ended)
        return ended

    # -- what has ended ----------------------------------------------------------------------------------
    def _collect(self) -> None:
        """Store what has ended. All of it is looked at even when the store fails: nothing may be forgotten."""
        trouble: StoreUnavailable | StoreUnusable | None = None
        waiting, self._unsettled = self._unsettled, []
        for lease, settled in waiting:
            trouble = _tried(partial(self._write, again=True), lease, settled) or trouble
        for end in self._sender.done():
            trouble = _tried(self._end, end) or trouble
        if trouble is not None:
            raise trouble

    def _end(self, end: Sent | Looked) -> None:
        if isinstance(end, Looked):
            self._looked_for(end)
            return
        lane = self._flying.pop((end.lease.task.key, end.lease.attempt))
        lane.in_flight -= 1
        self._agenda.put(lane, 0.0)
        if end.answer is None:
            self._held_back(lane, end)
            return
        verdict = judge(end.answer, end.lease)
        if end.answer.status is not None:
            self._answered(lane, end.answer.date_offset)
        if verdict.outcome is Outcome.UNSENT:
            self._unreachable(lane, end.lease, verdict)
            self._write(end.lease, None)
            return
        self._settle(lane, end.lease, verdict)

    def _looked_for(self, end: Looked) -> None:
        self._evidence.came_back(end)
        lane, now = self._lanes.find(end.lost[0][0].task.organization), self._clock.boot()
        wall = self._clock.wall()
        epoch = wall if lane is None else lane.calendar.epoch(wall=wall, boot=now)
        self._evidence.looked(end, now, ahead=epoch - self._store.now(), stopping=self._stopping.begun)
        self._ask_again(lane)

    def _held_back(self, lane: ServedOrganization, end: Sent) -> None:
        """Not a byte left: this process itself saw to that."""
        if isinstance(end.refused, GrantStale) and not self._stopping.begun:
            self._unreachable(lane, end.lease, TOO_SLOW)
        if not isinstance(end.refused, LeaseLost):
            self._write(end.lease, None)

    def _ask_again(self, lane: ServedOrganization | None) -> None:
        """Have a grant asked for: a look for evidence may have queued a task once more."""
        if lane is not None:
            lane.empty = False
            self._agenda.put(lane, 0.0)

    def _settle(self, lane: ServedOrganization, lease: Lease, verdict: Verdict) -> None:
        store_now = lease.granted_at + self._clock.boot() - lease.granted_boot
        settled = settlement.settlement(verdict, lease, self._backoff(lane), now=store_now, draw=self._draw)
        self._observer.on_event(notices.attempted(lane, lease, verdict, settled))
        refused = lane.refused
        self._learn(lane, lease, verdict)
        self._announce |= lane.refused != refused
        self._write(lease, settled)

    def _write(self, lease: Lease, settled: Settlement | None, *, again: bool = False) -> None:
        """Store the end of an attempt (None: nothing was sent); kept for later when the store does not answer.

        Stored `again`, it may turn out to be there already: only the store's word for it was lost.
        """
        self._touched = True
        try:
            if settled is None:
                self._store.queue.give_back(lease)
            else:
                self._store.queue.settle(
                    lease, settled, jitter=self._draw.random() if settled.closing else 0.0
                )
        except LeaseLost:
            if not again:
                self._observer.on_event(notices.taken_over(lease))
        except STORE_TROUBLE:
            self._unsettled.append((lease, settled))
            raise
        else:
            if settled is not None and settled.closing is not None:
                self._tell_of_gate(lease)

    def _tell_of_gate(self, lease: Lease) -> None:
        """Say so when the wait after a refusal has grown."""
        gate = self._store.organizations.bucket(lease.task.organization).gate
        lane = self._lanes.find(lease.task.organization)
        if gate is not None and lane is not None and gate.closings >= CLOSINGS_TO_DOUBLE:
            self._observer.on_event(notices.gate_stays_closed(lane, gate, now=self._store.now()))

    def _learn(self, lane: ServedOrganization, lease: Lease, verdict: Verdict) -> None:
        """What one answer says about the organization."""
        problem = verdict.problem.title if verdict.problem else ""
        if verdict.outcome is Outcome.CREATED and verdict.snapshot is not None:
            lane.success(lease.task)
            wrong = settlement.unexpected_snapshot(lease.task.expect_saved_event, verdict.snapshot)
            if wrong is not None:
                self._stop_lane(lane, Reason.UNEXPECTED_SNAPSHOT, f"{wrong.title}; {wrong.detail}")
        elif verdict.outcome is Outcome.REJECTED:
            lane.confirmed = True
        elif verdict.outcome is Outcome.UNAUTHORIZED:
            if lane.unauthorized(lease, self._clock.boot()):
                self._stop_lane(lane, Reason.TOKEN_REFUSED, f"the token was refused (401): {problem}")
        elif verdict.outcome is Outcome.FORBIDDEN and lane.forbidden(lease.task):
            self._observer.on_event(notices.group_refused(lane, lease.task, REFUSALS))

    def _stop_lane(self, lane: ServedOrganization, reason: Reason, because: str) -> None:
        if lane.stopped is None:
            lane.stop(reason, because)
            self._announce = True
            self._observer.on_event(notices.lane_stopped(lane))

    # -- no connection -----------------------------------------------------------------------------------
    def _answered(self, lane: ServedOrganization, offset: float | None) -> None:
        self._announce |= lane.connect_failures > 0
        lane.connect_failures, self._unreachable_since = 0, None
        lane.answered_at = self._clock.boot()
        if offset is not None:
            lane.calendar = ApiCalendar.read(offset, wall=self._clock.wall(), boot=self._clock.boot())

    def _unreachable(self, lane: ServedOrganization, lease: Lease, verdict: Verdict) -> None:
        """Nothing was sent: the organization is left alone for a while; it was no attempt."""
        now = self._clock.boot()
        self._announce |= lane.connect_failures == 0
        lane.connect_failures += 1
        wait = self._backoff(lane).wait(lane.connect_failures, self._draw)
        self._agenda.put(lane, now + wait)
        lane.waiting, lane.waiting_until = Reason.API_UNREACHABLE, self._clock.wall() + wait
        if self._unreachable_since is None:
            self._unreachable_since = now
        self._observer.on_event(notices.unsent(lane, lease, verdict, wait))

    def _silent_for(self, now: float) -> float:
        """For how long nothing has answered; an organization that merely waits for its time still has hope."""
        hopeful = any(not (lane.empty or lane.stopped or lane.connect_failures) for lane in self._lanes)
        if self._unreachable_since is None or hopeful:
            return 0.0
        return now - self._unreachable_since

    def _backoff(self, lane: ServedOrganization) -> Backoff:
        return Backoff(rules=self._rules, scale=min(1.0, lane.limit.per / ORDINARY_PERIOD))

    # -- looking at the store ----------------------------------------------------------------------------
    def _look(self, now: float) -> None:
        """See what other processes did, and tell them what changed here."""
        if self._announce:
            able = {lane.identity for lane in self._lanes if lane.hindered is None}
            hindered = {lane.identity: lane.hindered for lane in self._lanes if lane.hindered is not None}
            self._store.queue.serve(
                self.run.id,
                able | hindered.keys(),
                refused={lane.identity: lane.refused for lane in self._lanes},
                stopped={identity: why for identity, why in hindered.items() if identity not in able},
            )
            self._announce = False
        if now - self._looked >= self._poll:
            self._looked = now
            self._see_others(now)
        if self._touched:
            self._touched = False
            self._showing.changed()
            self._watch.report(thorough=False)

    def _see_others(self, now: float) -> None:
        """One cheap question to the store; more only when something changed, or now and then."""
        if self._watch.stepped(self._clock.boot):
            self._watch.must_hold()
        self._follow_calendar(now)
        changed = self._watch.changed(now)
        if self._watch.renamed:
            self._lanes.forget_strangers()
        for lane in filter(None, map(self._lanes.find, sorted(changed))):
            self._look_again(lane, now)
        if changed or now - self._thorough >= POLLS_PER_THOROUGH_LOOK * self._poll:
            self._thorough = now
            self._showing.changed()
            self._watch.report(thorough=True)
            if not self._stopping.begun:
                self._evidence.seek(now, room=self._room())

    def _follow_calendar(self, now: float) -> None:
        """Our calendar was set: what waits for a time of day by it is looked at again."""
        before, self._set_at = self._set_at, self._clock.wall() - self._clock.boot()
        if abs(self._set_at - before) >= 1.0:
            for lane in self._lanes:
                self._look_again(lane, now)

    def _look_again(self, lane: ServedOrganization, now: float) -> None:
        """Something changed in an organization: see, without its lock, whether the wait has become shorter."""
        if lane.stopped is not None or lane.waiting is Reason.API_UNREACHABLE or lane.look_at <= now:
            return
        wait = self._store.queue.outlook(self._ask(lane)) if lane.waiting in TIMED else None
        if wait is not None and wait.until is not None and wait.reason in TIMED:
            self._wait(lane, wait, now)
        else:
            self._agenda.put(lane, now)

    # -- grants ------------------------------------------------------------------------------------------
    def _grant_all(self, now: float) -> None:
        """Serve the organizations that are due, as many as can be sent for at once."""
        if self._full():
            return
        for lane in self._agenda.due(now):
            if lane.stopped is None:
                try:
                    self._grant(lane, now)
                except STORE_TROUBLE:
                    self._agenda.put(lane, now)  # taken out, it would be forgotten
                    raise
            if self._full():
                return

    def _full(self) -> bool:
        """Whether as many requests are under way as can be sent at once."""
        return self._room() <= 0

    def _room(self) -> int:
        """How many more requests can be sent at once; looks for evidence are requests, too."""
        return self._sender.capacity - len(self._flying) - self._evidence.under_way

    def _grant(self, lane: ServedOrganization, now: float) -> None:
        """Use what tokens the organization has; then wait for an answer, or for what the store says."""
        while lane.room > 0 and not self._full():
            granted = self._store.queue.grant(self._ask(lane))
            lane.empty = granted is None
            if not isinstance(granted, Lease):
                self._wait(lane, granted, now)
                return
            if self._watch.gained(granted, self._clock.boot()):
                self._watch.must_hold()
                self._write(granted, None)
                self._watch.hold_all_tokens(self._clock.boot)
                continue
            lane.waiting = lane.waiting_until = None
            lane.in_flight += 1
            self._flying[granted.task.key, granted.attempt] = lane
            self._sender.send(granted)
        if lane.room > 0:
            self._agenda.put(lane, now)

    def _ask(self, lane: ServedOrganization) -> Ask:
        return Ask(
            organization=lane.identity,
            run_id=self.run.id,
            limit=lane.limit,
            timeout=lane.timeout,
            epoch=lane.calendar.epoch(wall=self._clock.wall(), boot=self._clock.boot()),
            boot=self._clock.boot(),
            without=lane.refused,
        )

    def _wait(self, lane: ServedOrganization, wait: Wait | None, now: float) -> None:
        if wait is None or (wait.until is None and lane.in_flight):  # what is left there is on the wire
            lane.waiting = lane.waiting_until = None
            return
        delay = math.inf if wait.until is None else max(0.0, wait.until - self._store.now())
        lane.waiting = wait.reason
        lane.waiting_until = None if wait.until is None else self._clock.wall() + delay
        polled = wait.until is None or wait.reason is Reason.OTHER_RUN
        self._agenda.put(lane, now + (min(delay, self._poll) if polled else delay))

    # -- when it ends ------------------------------------------------------------------------------------
    def _finished(self) -> bool:
        if self._flying or self._evidence.under_way or self._unsettled:
            return False
        if self._stopping.begun:
            return True
        idle = all(lane.empty or lane.stopped is not None for lane in self._lanes)
        if not idle and self._watch.reported < self.run.tasks:
            return False
        self._showing.changed()  # since the last look another process may have settled the last of them
        view = self._showing.counted()
        if self._queued_anew(view):
            return False
        left = sum(not self._watch.told(position) for position in self._evidence.left)
        told = self._watch.reported + left >= view.total.settled  # else evidence is still to be looked for
        return told and (idle or not view.total.pending)

    def _queued_anew(self, view: RunView) -> bool:
        """Whether there is something to make again where nothing was left: another process has queued it since."""
        if view.run.state is not RunState.ACTIVE:
            return False
        again = [
            lane
            for lane in self._lanes
            if lane.empty and lane.stopped is None and not lane.refused
            if view.counts.get(lane.identity, Counts()).pending
        ]
        for lane in again:
            lane.empty = False
            self._agenda.put(lane, self._clock.boot() + self._poll)
        return bool(again)

    # -- trouble with the store --------------------------------------------------------------------------
    def _store_trouble(self, error: StoreUnavailable | StoreUnusable, now: float) -> float | None:
        """Fail closed: without the store nothing is sent; look again until it is back or `within` has passed."""
        if self._store_failed is None:
            self._store_failed = now
            self._observer.on_event(
                Event(
                    name="store.unavailable", text=f"{error}; nothing is sent until it answers", level="error"
                )
            )
        given_up = self._stopping.overdue(now) or (self._stopping.cut and not self._flying)
        if now - self._store_failed >= self._rules.within or given_up:
            self._stopping.begin("the store does not answer", now)
            return None
        self._showing.store_away()
        return now + STORE_RETRY

    def _store_back(self) -> None:
        if self._store_failed is not None:
            self._store_failed, self._announce = None, True
            self._observer.on_event(Event(name="store.back", text="the store answers again", level="warning"))

    # -- how far it is -----------------------------------------------------------------------------------
    def _next_look(self, now: float) -> float:
        return min(self._looked + self._poll, math.inf if self._full() else max(now, self._agenda.next))


def _tried(act: Callable[[*Ts], None], *what: *Ts) -> StoreUnavailable | StoreUnusable | None:
    """Do it; the store's error instead of raising it."""
    try:
        act(*what)
    except STORE_TROUBLE as error:
        return error
    return None
