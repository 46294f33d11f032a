"""The search for evidence of what became of a request whose answer was lost.

A private snapshot should appear among the account group's tests as a new saved event with our display
name. Finding it settles the task; not finding it proves nothing.
"""

from __future__ import annotations

from orchestrator import life, tidings
from orchestrator.errors import LeaseLost
from orchestrator.lane import Lanes
from orchestrator.model import Lease, Snapshot
from orchestrator.progress import Observer
from orchestrator.queue import Queue
from orchestrator.sender import Looked, Sender


class Evidence:
    """Looks for evidence once it can be there, and concludes what is to become of the task."""

    def __init__(self, run_id: str, queue: Queue, sender: Sender, lanes: Lanes, observer: Observer) -> None:
        self._run_id, self._queue, self._sender = run_id, queue, sender
        self._lanes, self._observer = lanes, observer
        self._looking: set[str] = set()

    @property
    def under_way(self) -> bool:
        """Whether a look has not ended yet."""
        return bool(self._looking)

    def seek(self) -> None:
        """Start looking for what is due; without a usable credential there is nothing to look with."""
        for lease, result in self._queue.evidence_due(self._run_id):
            lane = self._lanes.find(lease.task.organization)
            if lease.task.key in self._looking:
                continue
            if lane is None or lane.stopped is not None:
                self._conclude(lease, None, resend=False)
                continue
            self._looking.add(lease.task.key)
            self._sender.look(lease, result)

    def looked(self, end: Looked) -> None:
        """Draw the conclusion from a look."""
        self._looking.discard(end.lease.task.key)
        identity = end.lease.task.organization
        known, lane = self._queue.known_snapshots(identity), self._lanes.find(identity)
        offset = lane.offset if lane else 0.0
        found = life.evidence(end.lease, end.result, end.tests, known, offset=offset)
        resend = found is None and life.resend(end.lease, end.result)
        if self._conclude(end.lease, found, resend=resend):
            self._observer.happened(tidings.concluded(end.lease, found, resend=resend, error=end.error))

    def _conclude(self, lease: Lease, found: Snapshot | None, *, resend: bool) -> bool:
        try:
            self._queue.conclude(lease, found=found, how="saved_event" if found else "", resend=resend)
        except LeaseLost:
            return False  # another process concluded it
        return True
