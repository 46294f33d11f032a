"""What one worker watches in the store: tasks that anybody settled, tokens that came back, dead owners."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from orchestrator.model import Lease
from orchestrator.progress import Observer
from orchestrator.queue import Queue

OVERLAP = 5.0
"""Seconds of settlements read again at each look: on PostgreSQL commits may become visible out of order."""

STEP = 0.5
"""Seconds by which the store's clock may gain on ours between two looks; slower drift is what the guard is for."""

POLLS_PER_RECOVERY = 10
"""Dead processes are looked for at every so-manieth look."""


class Watch:
    """Reports each settled task of a run once, by whatever process it was settled, and says what changed."""

    def __init__(self, run_id: str, queue: Queue, observer: Observer, *, poll: float) -> None:
        self._run_id, self._queue, self._observer, self._poll = run_id, queue, observer, poll
        self._seen = bytearray()  # by position, so that memory grows one byte a task
        self.reported = 0
        self._versions: Mapping[str, int] = {}
        self._since = -math.inf
        self._recovered = -math.inf
        self._ahead = math.inf
        self._state = ""

    def changed(self, now: float) -> set[str]:
        """The organizations in which something changed since the last look; dead processes are seen to."""
        if now - self._recovered >= POLLS_PER_RECOVERY * self._poll:
            self._queue.recover()
            self._note_state()
            self._recovered = now
        versions = self._queue.versions(self._run_id)
        changed = {
            identity for identity, version in versions.items() if self._versions.get(identity) != version
        }
        self._versions = versions
        return changed

    def _note_state(self) -> None:
        """Somebody may have cancelled the run: that changes what there is to do in all of its organizations."""
        state = self._queue.find_run(self._run_id).state
        if state != self._state:
            self._state, self._versions = state, {}

    def stepped(self, boot: Callable[[], float]) -> bool:
        """Whether the store's clock was set forward since the last look, as far as our own clock can tell."""
        before = boot()
        at = self._queue.now()
        least, most = at - boot(), at - before  # the reading happened somewhere in between
        stepped, self._ahead = least > self._ahead + STEP, most
        return stepped

    def gained(self, lease: Lease, boot: float) -> bool:
        """Whether a grant was made by a clock that had been set forward since the last look."""
        return lease.granted_at - boot > self._ahead + STEP

    def report(self, *, thorough: bool) -> None:
        """Tell about every task that was settled since the last report; `thorough` looks back a little further."""
        at = self._queue.now()
        for result in self._queue.results(self._run_id, settled_since=self._since - OVERLAP * thorough):
            if result.final and self._first(result.task.position):
                self._observer.settled(result)
        self._since = at

    def report_rest(self) -> None:
        """Tell about what is uncertain and was still to be looked for: the run ends before that."""
        for result in self._queue.results(self._run_id, settled_since=-math.inf):
            if self._first(result.task.position):
                self._observer.settled(result)

    def _first(self, position: int) -> bool:
        if position >= len(self._seen):
            self._seen.extend(bytes(position + 1 - len(self._seen)))
        if self._seen[position]:
            return False
        self._seen[position] = 1
        self.reported += 1
        return True
