"""Watching the store for the deeds of other processes: tasks that anybody settled, owners that are dead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import IntEnum

from orchestrator.core import Counts, Observer, Result, Run, Status
from orchestrator.store import Store
from orchestrator.worker.clock_guard import ClockGuard

OVERLAP = 5.0
"""Seconds of settlements read again at each look: on PostgreSQL commits may become visible out of order."""

POLLS_PER_RECOVERY = 10
"""Dead processes are looked for at every so-manieth look."""


class Told(IntEnum):
    """The states of a task that were told, in one byte."""

    NOTHING = 0
    FAILED = 1
    UNCERTAIN = 2
    CREATED = 3
    EXISTING = 4


MADE = (Told.CREATED, Told.EXISTING)


class Watch:
    """Reports each settled task of a run once, by whatever process it was settled, and says what changed.

    `lost` are the positions of answers that were lost and are looked for; `renamed` is True if organizations of the
    run are known by other identities than at the look before.
    """

    def __init__(self, run: Run, store: Store, observer: Observer, guard: ClockGuard, *, poll: float) -> None:
        self._run_id, self._store, self._observer, self._guard = run.id, store, observer, guard
        self._poll, self._recovered = poll, -math.inf
        self._told = bytearray(run.tasks)  # by position, so that memory grows one byte a task
        self._tally = [run.tasks, *(0 for _ in list(Told)[1:])]  # how many were told as what
        self._versions: Mapping[str, int] = {}
        self._state = ""
        self._since, self._setbacks = -math.inf, 0
        self._seen: dict[
            int, float
        ] = {}  # when those were settled that the next thorough look finds once more
        self.lost: set[int] = set()
        self.renamed = False

    def find_changed(self, now: float) -> set[str]:
        """The organizations in which something changed since the last look; dead processes are seen to."""
        if now - self._recovered >= POLLS_PER_RECOVERY * self._poll:
            self._store.queue.recover()
            self._note_state()
            self._recovered = now
        versions = self._store.views.versions(self._run_id)
        changed = {
            identity for identity, version in versions.items() if self._versions.get(identity) != version
        }
        self.renamed = versions.keys() != self._versions.keys()
        self._versions = versions
        return changed

    def _note_state(self) -> None:
        """Somebody may have cancelled the run: that changes what there is to do in all of its organizations."""
        state = self._store.views.find_run(self._run_id).state
        if state != self._state:
            self._state, self._versions = state, {}

    def report(self, *, thorough: bool) -> None:
        """Tell about every task that was settled since the last report; `thorough` looks back a little further."""
        if self._guard.setbacks != self._setbacks:  # what is settled now is settled before what was reported
            self._since, self._setbacks = -math.inf, self._guard.setbacks
        at, views = self._store.now(), self._store.views
        if self._since == -math.inf:
            settled: dict[int, float] = {}
            self._take(views.results(self._run_id, settled_since=self._since))
        else:
            settled = views.settled(self._run_id, self._since - OVERLAP * thorough)
            self._take(
                views.results_at(
                    self._run_id, [one for one in settled if self._seen.get(one) != settled[one]]
                )
            )
        self._since, self._seen = at, settled if thorough else self._seen | settled

    def report_rest(self) -> None:
        """Tell about what is uncertain and was still to be looked for: the run ends before that."""
        for result in self._store.views.results(self._run_id, settled_since=-math.inf):
            self._tell(result)

    def has_told(self, position: int) -> bool:
        """True if the task at this position was reported."""
        return position < len(self._told) and self._told[position] != Told.NOTHING

    @property
    def reported(self) -> int:
        """How many tasks were told."""
        return len(self._told) - self._tally[Told.NOTHING]

    def counts(self, *, under_way: int, lost: int) -> Counts:
        """The run's tasks as they were told; of the others so many are under way here, and of so many the answer is lost."""
        left = self._tally[Told.NOTHING]
        lost = min(lost, left)
        sending = min(under_way, left - lost)
        return Counts(
            created=self._tally[Told.CREATED],
            existing=self._tally[Told.EXISTING],
            failed=self._tally[Told.FAILED],
            uncertain=self._tally[Told.UNCERTAIN] + lost,
            queued=left - lost - sending,
            sending=sending,
        )

    def _take(self, results: Iterable[Result]) -> None:
        """Tell of these, but not yet of those whose answers are looked for."""
        for result in results:
            if result.final:
                self.lost.discard(result.task.position)
                self._tell(result)
            else:
                self.lost.add(result.task.position)

    def _tell(self, result: Result) -> None:
        """Tell it, if it is news: what was not made may have been queued again, or noted as made, meanwhile."""
        position, told = result.task.position, _told_as(result)
        if position >= len(self._told):
            self._tally[Told.NOTHING] += position + 1 - len(self._told)
            self._told.extend(bytes(position + 1 - len(self._told)))
        before, self._told[position] = self._told[position], told
        self._tally[before] -= 1
        self._tally[told] += 1
        if before != told and before not in MADE:
            self._observer.on_result(result)


def _told_as(result: Result) -> Told:
    if result.status is Status.CREATED:
        return Told.CREATED if result.made_here else Told.EXISTING
    return Told.FAILED if result.status is Status.FAILED else Told.UNCERTAIN
