"""How far a run is and what it waits for, as one worker knows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator.core import Clock, Counts, Observer, Progress, Reason, Run, Waiting
from orchestrator.ratelimit import estimate_done
from orchestrator.store import RunView, Store
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations

SHOWN_EVERY = 1.0
"""Seconds between two looks at how far the run is."""

SHOWING_SHARE = 20
"""Counting tens of thousands of tasks takes its time: it may take one part in so many of all time."""


class Showing:
    """Counts the run's tasks when something changed, and tells the observer about once a second."""

    def __init__(
        self,
        run: Run,
        store: Store,
        lanes: ServedOrganizations,
        clock: Clock,
        observer: Observer,
        *,
        lost: Mapping[int, tuple[str, float]],
    ) -> None:
        self._lost = lost
        self._store, self._lanes, self._clock, self._observer = store, lanes, clock, observer
        self._view, self._stale = RunView(run=run), True
        self._shown, self._every = -math.inf, SHOWN_EVERY

    def changed(self) -> None:
        """Note that the counts are out of date."""
        self._stale = True

    def counted(self) -> RunView:
        """The run with its counts; the last known ones while the store does not answer."""
        if self._stale:
            self._view = self._store.views.run(self._view.run.id)
            self._stale = False
        return self._view

    @property
    def last_view(self) -> RunView:
        """What was counted last; before that, all tasks are pending."""
        if self._view.counts:
            return self._view
        return replace(self._view, counts={"": Counts(queued=self._view.run.tasks)})

    def show(self, now: float, *, always: bool) -> None:
        """Tell the observer, if it is time."""
        if now - self._shown < self._every and not always:
            return
        self._shown, before = now, self._clock.boot()
        view = self.counted()
        self._every = max(SHOWN_EVERY, SHOWING_SHARE * (self._clock.boot() - before))
        waiting = [_waiting(lane, view.counts.get(lane.identity, Counts())) for lane in self._lanes]
        shown = (*(one for one in waiting if one is not None), *self._awaited(view))
        self._observer.on_progress(Progress(now=self._clock.wall(), counts=view.total, waiting=shown))

    def _awaited(self, view: RunView) -> Iterator[Waiting]:
        """Where nothing is left but to look for what became of requests without an answer."""
        now = self._store.now() if self._lost else 0.0
        dues: dict[str, list[float]] = {}
        for organization, due in self._lost.values():
            dues.setdefault(organization, []).append(due)
        for organization, them in dues.items():
            lane = self._lanes.find(organization)
            counts = Counts() if lane is None else view.counts.get(lane.identity, Counts())
            left, wait = min(len(them), counts.uncertain), min(them) - now
            if lane is not None and left and not counts.pending:
                until = self._clock.wall() + wait if wait > 0 else None
                yield Waiting(organization=lane.name, reason=Reason.EVIDENCE, until=until, left=left)

    def store_away(self) -> None:
        """Tell that everything waits for the store."""
        counts = self._view.counts
        waiting = [
            Waiting(
                organization=lane.name,
                reason=Reason.STORE,
                until=None,
                left=counts.get(lane.identity, Counts()).pending,
            )
            for lane in self._lanes
        ]
        self._observer.on_progress(Progress(now=self._clock.wall(), counts=self._view.total, waiting=waiting))


def _waiting(lane: ServedOrganization, counts: Counts) -> Waiting | None:
    if lane.waiting is None or not counts.pending:
        return None
    until = lane.waiting_until
    return Waiting(
        organization=lane.name,
        reason=lane.waiting,
        until=until,
        left=counts.pending,
        done=None if until is None else estimate_done(counts.queued, until=until, limit=lane.limit),
        slots=lane.limit.usable,
    )
