"""The choice of whom to serve next: asking the store for leases, and waiting for what it says.

The store decides every grant; this decides only whom to ask for, and when.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from orchestrator.core import Clock, Counts, Lease, Reason, RunState, StoreTrouble
from orchestrator.ratelimit import Wait
from orchestrator.store import Ask, Grant, RunView, Store
from orchestrator.worker.clock_guard import ClockGuard
from orchestrator.worker.in_flight import InFlight
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations

TIMED = (Reason.OWN_QUOTA, Reason.FOREIGN_QUOTA, Reason.WINDOW_NOT_OVER, Reason.BACKOFF)
"""Waits whose end is known: a look without the organization's lock can tell whether it has moved."""

MOST_ASKED = 50
"""Organizations that are asked for at once: as many as the store takes into one commit. Answers that
come meanwhile are stored before the next ones are asked for."""

ASKED_AGAIN = 0.02
"""Seconds until an organization is asked for again that somebody else had locked: a commit takes about as long."""


class Grants:
    """Asks for leases for one run's organizations as they are due, and sends what is granted."""

    def __init__(
        self,
        run_id: str,
        store: Store,
        organizations: ServedOrganizations,
        clock: Clock,
        *,
        guard: ClockGuard,
        in_flight: InFlight,
        poll: float,
    ) -> None:
        self._run_id, self._store, self._organizations = run_id, store, organizations
        self._clock, self._guard, self._in_flight, self._poll = clock, guard, in_flight, poll
        self._set_at = clock.wall() - clock.boot()

    def serve_due(self, now: float, *, capacity: int) -> None:
        """Serve organizations that are due, as many as fit into one commit, until so many requests are under way."""
        chosen = self._choose(now, capacity - len(self._in_flight))
        if not chosen:
            return
        try:
            self._use(chosen, self._store.queue.grant([self._ask(served, most) for served, most in chosen]))
        except StoreTrouble:
            for served, _ in chosen:  # taken out, they would be forgotten
                self._organizations.schedule(served, now)
            raise

    def _choose(self, now: float, room: int) -> Sequence[tuple[ServedOrganization, int]]:
        """Some of those that are due, and for how many requests each has room, of all the room that there is."""
        chosen: list[tuple[ServedOrganization, int]] = []
        if room <= 0:
            return chosen
        for served in self._organizations.due(now):
            if served.stopped is None and self._in_flight.tokens.may_send(served, now) and served.room > 0:
                chosen.append((served, min(served.room, room)))
                room -= chosen[-1][1]
            if room <= 0 or len(chosen) == MOST_ASKED:
                break
        return chosen

    def _use(self, chosen: Sequence[tuple[ServedOrganization, int]], grants: Sequence[Grant]) -> None:
        """Send what was granted, then wait for answers or for what the store says."""
        gained, waits = list[Lease](), list[tuple[ServedOrganization, Wait | None]]()
        for (served, most), grant in zip(chosen, grants, strict=True):
            gained += self._send(served, grant)
            if not grant.reached:
                self._organizations.schedule(served, self._clock.boot() + ASKED_AGAIN)
            elif len(grant.leases) < most:
                waits.append((served, grant.wait))
            elif served.room > 0:
                self._organizations.schedule(served, self._clock.boot())
        if gained:
            self._in_flight.give_back(gained)
            self._guard.hold_all_tokens()
        self._wait(waits)

    def _send(self, served: ServedOrganization, grant: Grant) -> list[Lease]:
        """Send what was granted to one organization; returned is what must not be sent: a clock that had gained granted it."""
        gained: list[Lease] = []
        for lease in grant.leases:
            if self._guard.check_grant(lease):
                gained.append(lease)
            else:
                self._in_flight.send(served, lease)
        if grant.reached:
            served.empty = not grant.left
        return gained

    def _ask(self, served: ServedOrganization, most: int = 1) -> Ask:
        return Ask(
            organization=served.identity,
            run_id=self._run_id,
            limit=served.limit,
            timeout=served.timeout,
            epoch=served.calendar.epoch(self._clock),
            boot=self._clock.boot(),
            without=served.refusals.final,
            most=most,
        )

    def _wait(self, waits: Sequence[tuple[ServedOrganization, Wait | None]]) -> None:
        """Look at organizations again when the store says so; its clock is read once for all of them."""
        timed = any(wait is not None and wait.until is not None for _, wait in waits)
        store_now, now = self._store.now() if timed else 0.0, self._clock.boot()
        for served, wait in waits:
            if wait is None or (wait.until is None and served.in_flight):  # what is left there is on the wire
                served.wait_for(None, None)
                continue
            delay = math.inf if wait.until is None else max(0.0, wait.until - store_now)
            served.wait_for(wait.reason, None if wait.until is None else self._clock.wall() + delay)
            polled = wait.until is None or wait.reason is Reason.OTHER_RUN
            self._organizations.schedule(served, now + (min(delay, self._poll) if polled else delay))

    # -- looking again before its time ---------------------------------------------------------------------
    def look_again(self, changed: Iterable[ServedOrganization], now: float) -> None:
        """Something changed in organizations: see, without their locks, whether their waits have become shorter."""
        waiting = [served for served in changed if served.hindered is None and served.look_at > now]
        timed = [served for served in waiting if served.waiting in TIMED]
        outlooks = self._store.queue.outlook([self._ask(served) for served in timed])
        waits = {id(served): wait for served, wait in zip(timed, outlooks, strict=True)}
        still: list[tuple[ServedOrganization, Wait | None]] = []
        for served in waiting:
            wait = waits.get(id(served))
            if wait is not None and wait.until is not None and wait.reason in TIMED:
                still.append((served, wait))
            else:
                self._organizations.schedule(served, now)
        self._wait(still)

    def follow_calendar(self, now: float) -> None:
        """Look again at all of them if our calendar was set: some wait for a time of day by it."""
        before, self._set_at = self._set_at, self._clock.wall() - self._clock.boot()
        if abs(self._set_at - before) >= 1.0:
            self.look_again(self._organizations, now)

    def reopen(self, view: RunView) -> bool:
        """Tell if another process has queued tasks where nothing was left; they are asked for at the next poll."""
        if view.run.state is not RunState.ACTIVE:
            return False
        again = [
            served
            for served in self._organizations
            if served.empty and served.stopped is None and not served.refusals.final
            if view.counts.get(served.identity, Counts()).pending
        ]
        for served in again:
            served.empty = False
            self._organizations.schedule(served, self._clock.boot() + self._poll)
        return bool(again)
