"""How a run stops early: on a signal, at its deadline, or when nothing answers any more.

Nothing more is granted, leases are given back, what is on the wire may finish for a while, then it is cut
and stored as uncertain. Being asked a second time means now.
"""

from __future__ import annotations

from orchestrator.core import Observer
from orchestrator.worker import notices
from orchestrator.worker.sender import Sender

DRAIN = 20.0
"""Seconds that requests on the wire are given to finish (Kubernetes kills 30 s after its SIGTERM)."""


class Shutdown:
    """How far a run has stopped: `cut` is set once nothing is waited for. Times are of the boot clock.

    `patience` is for how many seconds nothing may answer.
    """

    def __init__(self, sender: Sender, observer: Observer, *, patience: float, ends_at: float) -> None:
        self._sender, self._observer = sender, observer
        self._patience, self._ends_at = patience, ends_at
        self._asked: list[str] = []
        self._began: float | None = None
        self.cut = False

    @property
    def begun(self) -> bool:
        """True if nothing more is to be granted."""
        return self._began is not None

    def overdue(self, now: float) -> bool:
        """True if what is on the wire has had its time."""
        return self._began is not None and now - self._began >= DRAIN

    def ask(self, because: str) -> None:
        """Note that a stop is wanted: all that a signal's handler may do."""
        self._asked.append(because)

    def check(self, now: float, *, silent_for: float) -> None:
        """Stop, or cut, if that was asked for or is due."""
        if now >= self._ends_at:
            self.begin("the deadline is reached", now)
        if silent_for > self._patience:
            self.begin(f"nothing has answered for {self._patience:.0f} s", now)
        while self._asked:
            because = self._asked.pop(0)
            if self.begun:
                self._cut_off()
            self.begin(because, now)
        if self.overdue(now):
            self._cut_off()

    def begin(self, because: str, now: float) -> None:
        """Stop, if that has not begun yet."""
        if self._began is None:
            self._began = now
            self._sender.drain()
            self._observer.on_event(notices.early_stop(because))

    def _cut_off(self) -> None:
        if not self.cut:
            self.cut = True
            self._sender.abort()
