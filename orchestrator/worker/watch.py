"""Watching the store for the deeds of other processes: tasks that anybody settled, owners that are dead."""

from __future__ import annotations

import math
from collections.abc import Mapping

from orchestrator.core import Observer, Result, Status
from orchestrator.store import Store
from orchestrator.worker.clock_guard import ClockGuard

OVERLAP = 5.0
"""Seconds of settlements read again at each look: on PostgreSQL commits may become visible out of order."""

POLLS_PER_RECOVERY = 10
"""Dead processes are looked for at every so-manieth look."""

TOLD_AS = {Status.FAILED: 1, Status.UNCERTAIN: 2, Status.CREATED: 3}
"""The status with which a task was told, in one byte; 0: nothing yet."""


class Watch:
    """Reports each settled task of a run once, by whatever process it was settled, and says what changed.

    `reported` counts the tasks that were told; `lost` has, by position, the organization of each answer that
    was lost and the store time from which it is looked for; `renamed` is True if organizations of the run are
    known by other identities than at the look before.
    """

    def __init__(
        self, run_id: str, store: Store, observer: Observer, guard: ClockGuard, *, poll: float
    ) -> None:
        self._run_id, self._store, self._observer, self._guard = run_id, store, observer, guard
        self._poll, self._recovered = poll, -math.inf
        self._told = bytearray()  # by position, so that memory grows one byte a task
        self._versions: Mapping[str, int] = {}
        self._state = ""
        self._since, self._setbacks = -math.inf, 0
        self.reported = 0
        self.lost: dict[int, tuple[str, float]] = {}
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
        at = self._store.now()
        for result in self._store.views.results(self._run_id, settled_since=self._since - OVERLAP * thorough):
            position = result.task.position
            if not result.final:
                self.lost[position] = (result.task.organization, result.evidence_due or at)
                continue
            self.lost.pop(position, None)
            self._tell(result)
        self._since = at

    def report_rest(self) -> None:
        """Tell about what is uncertain and was still to be looked for: the run ends before that."""
        for result in self._store.views.results(self._run_id, settled_since=-math.inf):
            self._tell(result)

    def has_told(self, position: int) -> bool:
        """True if the task at this position was reported."""
        return position < len(self._told) and bool(self._told[position])

    def _tell(self, result: Result) -> None:
        """Tell it, if it is news: what was not made may have been queued again, or noted as made, meanwhile."""
        position, told = result.task.position, TOLD_AS[result.status]
        if position >= len(self._told):
            self._told.extend(bytes(position + 1 - len(self._told)))
        before, self._told[position] = self._told[position], told
        self.reported += not before
        if before not in (told, TOLD_AS[Status.CREATED]):
            self._observer.on_result(result)
