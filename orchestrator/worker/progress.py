"""How far a run is and what it waits for, as one worker knows it."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator.core import Clock, Observer, Progress, Reason, Run, Waiting, urgency
from orchestrator.ratelimit import estimate_done
from orchestrator.store import RunView, Search, Store
from orchestrator.worker.in_flight import InFlight
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations
from orchestrator.worker.reconcile import LostAnswers
from orchestrator.worker.watch import Watch

SHOWN_EVERY = 1.0
"""Seconds between two looks at how far the run is."""

SHOWING_SHARE = 50
"""To say how far a run of ten thousand organizations is takes its time: it may take one part in so many of all time."""

MOST_NAMED = 10
"""So many waits are told one by one, the most urgent ones; the others are counted by their reasons."""


class RunProgress:
    """Tells the observer about once a second how far the run is, by what was told of its tasks, and what it waits for."""

    def __init__(
        self,
        run: Run,
        store: Store,
        organizations: ServedOrganizations,
        clock: Clock,
        *,
        observer: Observer,
        watch: Watch,
        in_flight: InFlight,
        lost_answers: LostAnswers,
    ) -> None:
        self._store, self._organizations, self._clock = store, organizations, clock
        self._observer, self._watch = observer, watch
        self._in_flight, self._lost_answers = in_flight, lost_answers
        self._view, self._stale = RunView(run=run), True
        self._shown, self._summed, self._pause, self._reported = -math.inf, -math.inf, 0.0, 0
        self._waiting: Sequence[Waiting] = ()
        self._others: Counter[Reason] = Counter()
        self._left: Mapping[str, int] = {}
        self._lost = 0

    def note_change(self) -> None:
        """Note that the counts are out of date."""
        self._stale = True

    def count(self) -> RunView:
        """The run with its counts as they are in the store: all of its tasks are read for it, so near the end only."""
        if self._stale:
            self._view = self._store.views.run(self._view.run.id)
            self._stale = False
        return self._view

    @property
    def told(self) -> RunView:
        """The run with the counts of what was told of it, which a store that is away takes nothing from."""
        counts = self._watch.counts(under_way=len(self._in_flight), lost=self._lost)
        return replace(self._view, counts={"": counts})

    @property
    def due(self) -> float:
        """The boot time at which the counts have to be shown: at once after a result, else never."""
        return math.inf if self._reported == self._watch.reported else self._shown + self._pause

    def show(self, now: float, *, always: bool) -> None:
        """Tell the observer, if it is time; what the run waits for is summed up once a second at most."""
        regular = max(SHOWN_EVERY, self._pause)
        if now < min(self._shown + regular, self.due) and not always:
            return
        self._shown, self._reported, before = now, self._watch.reported, self._clock.boot()
        if now >= self._summed + regular or always:
            self._summed = now
            self._sum_up()
        self._tell()
        self._pause = SHOWING_SHARE * (self._clock.boot() - before)

    def show_outage(self) -> None:
        """Tell that everything waits for the store; how many tasks are left is what it said last."""
        served = [one for one in self._organizations if _is_open(one)]
        self._waiting = [
            Waiting(
                organization=one.name, reason=Reason.STORE, until=None, left=self._left.get(one.identity, 0)
            )
            for one in served[:MOST_NAMED]
        ]
        self._others = Counter({Reason.STORE: len(served) - len(self._waiting)})
        self._tell()

    def _tell(self) -> None:
        counts, others = self.told.total, +self._others
        self._observer.on_progress(
            Progress(now=self._clock.wall(), counts=counts, waiting=self._waiting, others=others)
        )

    # -- what it waits for ---------------------------------------------------------------------------------
    def _sum_up(self) -> None:
        """Note what the organizations wait for; how many tasks are left is asked for the most urgent ones only."""
        run_id = self._view.run.id
        searches = self._store.views.searches(run_id) if self._watch.lost else {}
        self._lost = sum(search.tasks for search in searches.values())
        waiting = [one for one in self._organizations if one.waiting is not None and not one.empty]
        urgent = heapq.nsmallest(MOST_NAMED, waiting, key=_urgency)
        first = itertools.islice(filter(_is_open, self._organizations), MOST_NAMED)
        self._left = self._store.views.left(run_id, [one.identity for one in (*urgent, *first)])
        waits = [*self._waits(urgent), *self._waits_for_evidence(searches)]
        self._waiting = sorted(waits, key=lambda wait: wait.urgency)[:MOST_NAMED]
        unnamed = _reasons(waiting) - _reasons(urgent)
        unnamed.update(wait.reason for wait in waits)
        self._others = unnamed - Counter(wait.reason for wait in self._waiting)

    def _waits(self, urgent: Sequence[ServedOrganization]) -> Iterator[Waiting]:
        for served in urgent:
            if served.identity in self._left:
                yield _wait_of(served, self._left[served.identity])
            elif served.stopped is not None:  # nothing is left there that could wait
                served.empty = True

    def _waits_for_evidence(self, searches: Mapping[str, Search]) -> Iterator[Waiting]:
        """The waits of organizations where nothing is left but to look for what became of requests without an answer."""
        now, boot = (self._store.now() if searches else 0.0), self._clock.boot()
        for identity, search in searches.items():
            served = self._organizations.find(identity)
            if served is not None and served.empty:
                wait = max(search.due - now, self._lost_answers.next_look(identity) - boot)
                end = self._lost_answers.latest_end(identity) - boot
                yield Waiting(
                    organization=served.name,
                    reason=Reason.EVIDENCE,
                    until=self._clock.wall() + wait if wait > 0 else None,
                    left=search.tasks,
                    done=self._clock.wall() + end if end < math.inf else None,
                )


def _is_open(served: ServedOrganization) -> bool:
    """True if something may still be sent for it."""
    return served.stopped is None and not served.empty


def _reasons(waiting: Iterable[ServedOrganization]) -> Counter[Reason]:
    return Counter(one.waiting for one in waiting if one.waiting is not None)


def _urgency(served: ServedOrganization) -> tuple[bool, float, str]:
    return urgency(served.waiting or Reason.OWN_QUOTA, served.waiting_until, served.name)


def _wait_of(served: ServedOrganization, left: int) -> Waiting:
    until = served.waiting_until
    return Waiting(
        organization=served.name,
        reason=served.waiting or Reason.OWN_QUOTA,
        until=until,
        left=left,
        done=None
        if until is None
        else estimate_done(left - served.in_flight, until=until, limit=served.limit),
        slots=served.limit.usable,
    )
