"""The numbered moments of a task's life at which a process is killed."""

from __future__ import annotations

import os
import signal
import threading
from enum import IntEnum

from tests.crash.ledger import Ledger


class Point(IntEnum):
    """Where a process dies."""

    BEFORE_GRANT = 1  # before the grant's transaction
    GRANTED = 2  # the grant is committed
    CONNECTED = 3  # the connection stands, `sending` is not committed
    COMMITTED = 4  # `sending` is committed, not a byte has left
    HALF_SENT = 5  # half of the request's head or body has left
    SENT = 6  # the whole request has left, the answer is waited for
    ANSWERED = 7  # the answer is in hand and not stored
    SETTLED = 8  # the answer is stored, its record is not printed
    PRINTING = 9  # half of a record is on standard output
    ENQUEUING = 10  # in the middle of freezing a plan
    RECOVERING = 11  # in the middle of taking over a dead process's lease

    @property
    def words(self) -> str:
        """The moment as a table shows it."""
        return f"{self.value}: {self.name.lower().replace('_', ' ')}"


LATEST = {
    Point.BEFORE_GRANT: 20,
    Point.PRINTING: 8,
    Point.ENQUEUING: 9,
    Point.RECOVERING: 3,
}
"""At which passage of a point a process dies at the latest: transactions have so many statements."""

USUALLY_LATEST = 3


class Fate:
    """Whether this process dies at a point: at the n-th passage of one point, or never."""

    def __init__(self, ledger: Ledger, point: Point | None = None, passage: int = 1) -> None:
        self._ledger, self._point, self._left = ledger, point, passage
        self._lock = threading.Lock()

    def due(self, point: Point) -> bool:
        """Count a passage; whether it is the one."""
        if point is not self._point:
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0

    def passing(self, point: Point) -> None:
        """Die here if this is the point and the passage."""
        if self.due(point):
            self.die(point)

    def die(self, point: Point) -> None:
        """Leave one line behind, and nothing else."""
        self._ledger.note("died", point=int(point))
        os.kill(os.getpid(), signal.SIGKILL)
