"""The choice of whom to serve next: asking the store for leases, and waiting for what it says.

The store decides every grant; this decides only whom to ask for, and when.
"""

from __future__ import annotations

import math

from orchestrator.core import Clock, Counts, Lease, Reason, RunState, StoreTrouble
from orchestrator.ratelimit import Wait
from orchestrator.store import Ask, RunView, Store
from orchestrator.worker.clock_guard import ClockGuard
from orchestrator.worker.in_flight import InFlight
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations

TIMED = (Reason.OWN_QUOTA, Reason.FOREIGN_QUOTA, Reason.WINDOW_NOT_OVER, Reason.BACKOFF)
"""Waits whose end is known: a look without the organization's lock can tell whether it has moved."""


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
        """Serve the organizations that are due, until so many requests are under way."""
        if len(self._in_flight) >= capacity:
            return
        for served in self._organizations.due(now):
            if served.stopped is None:
                try:
                    self._serve(served, now, capacity)
                except StoreTrouble:
                    self._organizations.schedule(served, now)  # taken out, it would be forgotten
                    raise
            if len(self._in_flight) >= capacity:
                return

    def _serve(self, served: ServedOrganization, now: float, capacity: int) -> None:
        """Use what tokens the organization has; then wait for an answer, or for what the store says."""
        if not self._in_flight.tokens.may_send(served, now):
            return
        while served.room > 0 and len(self._in_flight) < capacity:
            (grant,) = self._store.queue.grant([self._ask(served)])
            if not grant.reached:
                break
            served.empty = not grant.left
            if not grant.leases:
                self._wait(served, grant.wait, now)
                return
            for lease in grant.leases:
                self._send(served, lease)
        if served.room > 0:
            self._organizations.schedule(served, now)

    def _send(self, served: ServedOrganization, lease: Lease) -> None:
        """Send what was granted, unless a clock that had gained granted it."""
        if self._guard.check_grant(lease):
            self._in_flight.give_back(lease)
            self._guard.hold_all_tokens()
        else:
            self._in_flight.send(served, lease)

    def _ask(self, served: ServedOrganization) -> Ask:
        return Ask(
            organization=served.identity,
            run_id=self._run_id,
            limit=served.limit,
            timeout=served.timeout,
            epoch=served.calendar.epoch(self._clock),
            boot=self._clock.boot(),
            without=served.refusals.final,
        )

    def _wait(self, served: ServedOrganization, wait: Wait | None, now: float) -> None:
        if wait is None or (wait.until is None and served.in_flight):  # what is left there is on the wire
            served.wait_for(None, None)
            return
        delay = math.inf if wait.until is None else max(0.0, wait.until - self._store.now())
        served.wait_for(wait.reason, None if wait.until is None else self._clock.wall() + delay)
        polled = wait.until is None or wait.reason is Reason.OTHER_RUN
        self._organizations.schedule(served, now + (min(delay, self._poll) if polled else delay))

    # -- looking again before its time ---------------------------------------------------------------------
    def look_again(self, served: ServedOrganization, now: float) -> None:
        """Something changed in an organization: see, without its lock, whether the wait has become shorter."""
        if served.hindered is not None or served.look_at <= now:
            return
        wait = self._store.queue.outlook(self._ask(served)) if served.waiting in TIMED else None
        if wait is not None and wait.until is not None and wait.reason in TIMED:
            self._wait(served, wait, now)
        else:
            self._organizations.schedule(served, now)

    def follow_calendar(self, now: float) -> None:
        """Look again at all of them if our calendar was set: some wait for a time of day by it."""
        before, self._set_at = self._set_at, self._clock.wall() - self._clock.boot()
        if abs(self._set_at - before) >= 1.0:
            for served in self._organizations:
                self.look_again(served, now)

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
