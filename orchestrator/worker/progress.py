"""How far a run is and what it waits for, as one worker knows it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from orchestrator.core import Clock, Counts, Observer, Progress, Reason, Run, Waiting
from orchestrator.ratelimit import estimate_done
from orchestrator.store import RunView, Store
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations
from orchestrator.worker.reconcile import LostAnswers
from orchestrator.worker.watch import Watch

SHOWN_EVERY = 1.0
"""Seconds between two looks at how far the run is."""

SHOWING_SHARE = 20
"""Counting tens of thousands of tasks takes its time: it may take one part in so many of all time."""


class RunProgress:
    """Counts the run's tasks when something changed, and tells the observer about once a second."""

    def __init__(
        self,
        run: Run,
        store: Store,
        organizations: ServedOrganizations,
        clock: Clock,
        *,
        observer: Observer,
        watch: Watch,
        lost_answers: LostAnswers,
    ) -> None:
        self._store, self._organizations, self._clock = store, organizations, clock
        self._observer, self._watch, self._lost_answers = observer, watch, lost_answers
        self._view, self._stale = RunView(run=run), True
        self._shown, self._pause, self._reported = -math.inf, 0.0, 0

    def note_change(self) -> None:
        """Note that the counts are out of date."""
        self._stale = True

    def count(self) -> RunView:
        """The run with its counts as they are in the store."""
        if self._stale:
            self._view = self._store.views.run(self._view.run.id)
            self._stale = False
        return self._view

    @property
    def last_view(self) -> RunView:
        """The run as it was counted last; before that, all tasks are pending."""
        if self._view.counts:
            return self._view
        return replace(self._view, counts={"": Counts(queued=self._view.run.tasks)})

    @property
    def due(self) -> float:
        """The boot time at which the counts have to be shown: at once after a result, else never."""
        return math.inf if self._reported == self._watch.reported else self._shown + self._pause

    def show(self, now: float, *, always: bool) -> None:
        """Tell the observer, if it is time."""
        if now < min(self._shown + max(SHOWN_EVERY, self._pause), self.due) and not always:
            return
        self._shown, self._reported, before = now, self._watch.reported, self._clock.boot()
        view = self.count()
        self._pause = SHOWING_SHARE * (self._clock.boot() - before)
        waiting = [_waiting(served, _counts(view, served)) for served in self._organizations]
        self._tell(view, *(one for one in waiting if one is not None), *self._waits_for_evidence(view))

    def show_outage(self) -> None:
        """Tell that everything waits for the store."""
        self._tell(
            self._view,
            *(
                Waiting(
                    organization=served.name,
                    reason=Reason.STORE,
                    until=None,
                    left=_counts(self._view, served).pending,
                )
                for served in self._organizations
            ),
        )

    def _tell(self, view: RunView, *waiting: Waiting) -> None:
        self._observer.on_progress(Progress(now=self._clock.wall(), counts=view.total, waiting=waiting))

    def _waits_for_evidence(self, view: RunView) -> Iterator[Waiting]:
        """The waits of organizations where nothing is left but to look for what became of requests without an answer."""
        now, boot = (self._store.now() if self._watch.lost else 0.0), self._clock.boot()
        dues: dict[str, list[float]] = {}
        for organization, due in self._watch.lost.values():
            dues.setdefault(organization, []).append(due)
        for organization, them in dues.items():
            served = self._organizations.find(organization)
            counts = Counts() if served is None else _counts(view, served)
            left = min(len(them), counts.uncertain)
            if served is not None and left and not counts.pending:
                wait = max(min(them) - now, self._lost_answers.next_look(organization) - boot)
                end = self._lost_answers.latest_end(organization) - boot
                yield Waiting(
                    organization=served.name,
                    reason=Reason.EVIDENCE,
                    until=self._clock.wall() + wait if wait > 0 else None,
                    left=left,
                    done=self._clock.wall() + end if end < math.inf else None,
                )


def _counts(view: RunView, served: ServedOrganization) -> Counts:
    return view.counts.get(served.identity, Counts())


def _waiting(served: ServedOrganization, counts: Counts) -> Waiting | None:
    if served.waiting is None or not counts.pending:
        return None
    until = served.waiting_until
    return Waiting(
        organization=served.name,
        reason=served.waiting,
        until=until,
        left=counts.pending,
        done=None if until is None else estimate_done(counts.queued, until=until, limit=served.limit),
        slots=served.limit.usable,
    )
