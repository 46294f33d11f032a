"""What one worker watches in the store: tasks that anybody settled, tokens that came back, dead owners."""

from __future__ import annotations

import math
from collections.abc import Mapping

from orchestrator.progress import Observer
from orchestrator.queue import Queue

OVERLAP = 5.0
"""Seconds of settlements read again at each look: on PostgreSQL commits may become visible out of order."""

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

    def changed(self, now: float) -> set[str]:
        """The organizations in which something changed since the last look; dead processes are seen to."""
        if now - self._recovered >= POLLS_PER_RECOVERY * self._poll:
            self._recovered = now
            self._queue.recover()
        versions = self._queue.versions(self._run_id)
        changed = {identity for identity, version in versions.items() if self._versions.get(identity) != version}
        self._versions = versions
        return changed

    def report(self, *, thorough: bool) -> None:
        """Tell about every task that was settled since the last report; `thorough` looks back a little further."""
        at = self._queue.now()
        for result in self._queue.results(self._run_id, settled_since=self._since - OVERLAP * thorough):
            if result.final and self._first(result.task.position):
                self._observer.settled(result)
        self._since = at

    def _first(self, position: int) -> bool:
        if position >= len(self._seen):
            self._seen.extend(bytes(position + 1 - len(self._seen)))
        if self._seen[position]:
            return False
        self._seen[position] = 1
        self.reported += 1
        return True
