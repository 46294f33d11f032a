"""Grant, send, settle, record, until the queue is empty.

One thread does it all in steps: collect what has ended and store it, tell about it, ask each organization
that may have a token for a grant, and say when to look again. A step never sleeps, so that several
workers can be driven side by side in virtual time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from random import Random

from orchestrator.core import (
    Clock,
    Ending,
    Observer,
    Reason,
    RetryRules,
    Run,
    RunState,
    StoreTrouble,
)
from orchestrator.store import RunView, Store
from orchestrator.worker.clock_guard import ClockGuard
from orchestrator.worker.ending import Shutdown, make_ending, pending_reasons
from orchestrator.worker.grants import Grants
from orchestrator.worker.in_flight import InFlight, do_all
from orchestrator.worker.organization import ApiCalendar, ServedOrganization, ServedOrganizations
from orchestrator.worker.progress import RunProgress
from orchestrator.worker.reconcile import LostAnswers
from orchestrator.worker.sender import Looked, Sender, Sent
from orchestrator.worker.watch import Watch

POLLS_PER_THOROUGH_LOOK = 10
"""Looks at the store between two that do not rely on what has changed."""

STORE_RETRY = 1.0
"""Seconds between looks at a store that does not answer."""


class Worker:
    """Makes the snapshots of one run, for the organizations whose credential this process holds."""

    def __init__(
        self,
        run: Run,
        store: Store,
        sender: Sender,
        organizations: Mapping[str, ServedOrganization],
        clock: Clock,
        *,
        observer: Observer,
        rules: RetryRules,
        seed: int = 0,
        deadline: float | None = None,
    ) -> None:
        self.run, self._store, self._sender, self._clock = run, store, sender, clock
        self._observer, self._started = observer, clock.boot()
        self._orders: deque[tuple[str, Reason, str]] = deque()
        for one in organizations.values():
            if one.calendar.offset:
                one.calendar = ApiCalendar.read(one.calendar.offset, clock)
        served = self._organizations = ServedOrganizations(organizations, store)
        draw, poll = Random(seed), min((one.limit.poll for one in served), default=1.0)
        self._poll, self._looked, self._thorough = poll, -math.inf, -math.inf
        ends_at = math.inf if deadline is None else self._started + deadline
        self._patience = rules.within
        self._shutdown = Shutdown(sender, observer, patience=self._patience, ends_at=ends_at)
        self._guard = ClockGuard(store, served, clock, observer)
        flying = InFlight(store, sender, served, clock, observer=observer, rules=rules, draw=draw)
        lost = LostAnswers(run.id, store, sender, served, clock, observer=observer, rules=rules, draw=draw)
        self._in_flight, self._lost_answers = flying, lost
        self._grants = Grants(run.id, store, served, clock, guard=self._guard, in_flight=flying, poll=poll)
        self._watch = watch = Watch(run, store, observer, self._guard, poll=poll)
        self._progress = RunProgress(
            run, store, served, clock, observer=observer, watch=watch, in_flight=flying, lost_answers=lost
        )

    # -- driving it --------------------------------------------------------------------------------------
    def work(self) -> Ending:
        """Step until the run has ended, sleeping in between; returns how it ended. Lets the sender's threads go."""
        with closing(self._sender):
            self.open()
            while (wake := self.step()) is not None:
                self._sender.wait(wake - self._clock.boot())
            return self.end()

    def open(self) -> None:
        """Tell the observer that the run begins; the first step declares which organizations are served."""
        self._observer.on_start(self.run, self.run.tasks)

    def ask_to_stop(self, because: str) -> None:
        """Have the next step stop, or cut what is on the wire at a second signal; safe in a signal's handler."""
        self._shutdown.ask(because, self._clock.boot())
        self._sender.wake()

    def stop_organization(self, identity: str, reason: Reason, because: str) -> None:
        """Have the next step send nothing more for an organization, as what was learnt of it says; from any thread."""
        self._orders.append((identity, reason, because))
        self._sender.wake()

    def step(self) -> float | None:
        """Do what can be done now; the boot time of the next look, or None when the run has ended."""
        now = self._clock.boot()
        self._shutdown.check(now, silent_for=self._organizations.silent_for(now, at_least=self._patience))
        try:
            self._land()
            self._look(now)
            self._guard.hold_all_tokens()
            if not self._shutdown.begun:
                self._grants.serve_due(now, capacity=self._capacity)
            finished = self._is_finished()
            self._progress.show(now, always=finished)
        except StoreTrouble as error:
            return self._wait_for_store(error, now)
        if self._shutdown.note_store_answer():
            self._organizations.registration_due = True
        return None if finished else self._next_look(now)

    def end(self) -> Ending:
        """The ending of the run, told to the observer; the store's registration is given up."""
        try:
            view = self._read_view()
            reasons = pending_reasons(view, self._organizations, stopping=self._shutdown.begun)
            if self._shutdown.store_gone:
                reasons = dict.fromkeys(reasons, Reason.STORE.value)
            self._report_last(view)
            early = self._shutdown.begun and bool(view.total.pending or view.total.uncertain)
            if not (view.total.pending or early or view.run.state is RunState.CANCELLED):
                self._store.runs.end(self.run.id, RunState.FINISHED)
            self._store.queue.serve(self.run.id, ())
        except StoreTrouble:
            self._shutdown.begin("the store does not answer", self._clock.boot())
            view, early = self._progress.told, True
            reasons = dict.fromkeys(view.counts, Reason.STORE.value)
        seconds = self._clock.boot() - self._started
        ending = make_ending(view, self._organizations, reasons, early=early, seconds=seconds)
        ending = replace(ending, unread=min(len(self._lost_answers.unread), view.total.uncertain))
        self._observer.on_end(ending)
        return ending

    def _read_view(self) -> RunView:
        """The run as it is, with the organizations that cannot be served by this process among the refused."""
        view = self._store.views.run(self.run.id)
        return replace(view, run=replace(view.run, refused=self.run.refused))

    def _report_last(self, view: RunView) -> None:
        self._watch.report(thorough=True)  # what was told to have failed may have been made since
        if view.total.pending or self._watch.reported < view.total.settled:
            self._watch.report_rest()

    # -- one step ----------------------------------------------------------------------------------------
    def _land(self) -> None:
        """Store the ends of requests and of looks; nothing may be forgotten."""
        stopping, sent, looked = self._shutdown.begun, list[Sent](), list[Looked]()
        for end in self._sender.take_ended():
            if isinstance(end, Looked):
                looked.append(end)
            else:
                sent.append(end)
        looks = [partial(self._lost_answers.end_look, end, stopping=stopping) for end in looked]
        do_all([partial(self._in_flight.land, sent, stopping=stopping), *looks])

    def _look(self, now: float) -> None:
        """See what other processes did, and tell them what changed here."""
        while self._orders:
            identity, reason, because = self._orders.popleft()
            self._in_flight.stop_serving(identity, reason, because)
        self._organizations.register(self.run.id)
        if now - self._looked >= self._poll:
            self._see_others(now)
            self._looked = now
        if self._in_flight.stored:
            self._in_flight.stored = False
            self._progress.note_change()
            self._watch.report(thorough=False)

    def _see_others(self, now: float) -> None:
        """One cheap question to the store; more only when something changed, or now and then."""
        if not self._shutdown.begun:
            self._store.verify()
        self._guard.compare_clocks()
        self._grants.follow_calendar(now)
        changed = self._watch.find_changed(now)
        if self._watch.renamed:
            self._organizations.follow_identities()
        self._grants.look_again(self._organizations.find_all(sorted(changed)), now)
        if changed or now - self._thorough >= POLLS_PER_THOROUGH_LOOK * self._poll:
            self._thorough = now
            self._progress.note_change()
            self._watch.report(thorough=True)
            if not self._shutdown.begun:
                self._lost_answers.note_work(now, done=self._is_worked_off())
                self._lost_answers.start_looking(now, room=self._capacity - len(self._in_flight))

    @property
    def _capacity(self) -> int:
        """How many attempts can be under way at once; looks for evidence are requests, too."""
        return self._sender.capacity - self._lost_answers.under_way

    def _is_worked_off(self) -> bool:
        """True if there is nothing left to do here but to look for lost answers."""
        if not self._in_flight.settled:
            return False
        return self._organizations.idle or (self._may_be_over and not self._progress.count().total.pending)

    @property
    def _may_be_over(self) -> bool:
        """True if nothing may be left but answers that were lost: then it is worth asking the store."""
        return self._watch.reported + len(self._watch.lost) >= self.run.tasks

    def _is_finished(self) -> bool:
        if self._lost_answers.under_way or not self._in_flight.settled:
            return False
        if self._shutdown.begun:
            return True
        if not self._seems_finished():
            return False
        self._progress.note_change()  # since the last look another process may have settled the last of them
        return self._seems_finished()

    def _seems_finished(self) -> bool:
        """True if nothing is left to do, by what the store said when it was asked last."""
        idle = self._organizations.idle
        if not idle and self._watch.reported < self.run.tasks:
            return False
        view = self._progress.count()
        if self._grants.reopen(view):
            return False
        left = sum(not self._watch.has_told(position) for position in self._lost_answers.left)
        told = self._watch.reported + left >= view.total.settled  # else evidence is still to be looked for
        return told and (idle or not view.total.pending)

    def _next_look(self, now: float) -> float:
        full = len(self._in_flight) >= self._capacity
        soonest = min(self._looked + self._poll, self._progress.due)
        return min(soonest, math.inf if full else max(now, self._organizations.next_look))

    def _wait_for_store(self, error: StoreTrouble, now: float) -> float | None:
        """Fail closed: without the store nothing is sent; look again until it is back or `within` has passed."""
        if self._shutdown.note_store_failure(error, now, on_wire=len(self._in_flight)):
            return None
        self._progress.show_outage()
        return now + STORE_RETRY
