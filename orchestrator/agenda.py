"""When which organization is to be looked at next: a heap, so that thousands of them cost nothing while they wait."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator

from orchestrator.lane import Lane


class Agenda:
    """The lanes of a process in the order of their next look; a lane's own `look_at` is what counts."""

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self._heap: list[tuple[float, int, Lane]] = []
        self._entries = 0
        for lane in lanes:
            self.put(lane, lane.look_at)

    def put(self, lane: Lane, at: float) -> None:
        """Look at the lane at this time instead of any other; infinity: not until it is put again."""
        lane.look_at = at
        if at < math.inf:
            self._entries += 1
            heapq.heappush(self._heap, (at, self._entries, lane))

    def due(self, now: float) -> Iterator[Lane]:
        """Take out the lanes that are due, one by one; one that is put again for now comes again."""
        while self._heap and self._heap[0][0] <= now:
            at, _, lane = heapq.heappop(self._heap)
            if at == lane.look_at:  # else it was put elsewhere since
                lane.look_at = math.inf
                yield lane

    @property
    def next(self) -> float:
        """The time of the next look; may be that of a lane which was put elsewhere since."""
        return self._heap[0][0] if self._heap else math.inf
