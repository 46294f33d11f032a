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


class Stopping:
    """Whether a run is stopping, and how far: `cut` is set once nothing is waited for. Times are of the boot clock."""

    def __init__(self, sender: Sender, observer: Observer, *, ends_at: float) -> None:
        self._sender, self._observer, self._ends_at = sender, observer, ends_at
        self._asked: list[str] = []
        self._began: float | None = None
        self.cut = False

    @property
    def begun(self) -> bool:
        """Whether nothing more is to be granted."""
        return self._began is not None

    def overdue(self, now: float) -> bool:
        """Whether what is on the wire has had its time."""
        return self._began is not None and now - self._began >= DRAIN

    def ask(self, because: str) -> None:
        """Note that a stop is wanted: all that a signal's handler may do."""
        self._asked.append(because)

    def check(self, now: float, *, silent_for: float, patience: float) -> None:
        """Stop, or cut, if that was asked for or is due."""
        if now >= self._ends_at:
            self.begin("the deadline is reached", now)
        if silent_for > patience:
            self.begin(f"nothing has answered for {patience:.0f} s", now)
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
            self._observer.on_event(notices.stopping(because))

    def _cut_off(self) -> None:
        if not self.cut:
            self.cut = True
            self._sender.abort()
