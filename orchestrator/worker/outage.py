"""A store that is away for a while: nothing is sent without it, and nothing that has ended is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from orchestrator.core import Event, Observer, StoreUnavailable, StoreUnusable

STORE_RETRY = 1.0
"""Seconds between looks at a store that does not answer."""

STORE_TROUBLE = (StoreUnavailable, StoreUnusable)
"""Once a run has begun, a store that became unwritable is waited for like one that does not answer."""


class StoreOutage:
    """Since when the store has been away, if it is; `patience` is for how many seconds it is waited for."""

    def __init__(self, observer: Observer, *, patience: float) -> None:
        self._observer, self._patience = observer, patience
        self._since: float | None = None

    def note_failure(self, error: StoreUnavailable | StoreUnusable, now: float) -> bool:
        """Note that the store failed, and say so the first time; True once it has been away for too long."""
        if self._since is None:
            self._since = now
            text = f"{error}; nothing is sent until it answers"
            self._observer.on_event(Event(name="store.unavailable", text=text, level="error"))
        return now - self._since >= self._patience

    def note_answer(self) -> bool:
        """Note that the store answers; True, and told, if it was away before."""
        if self._since is None:
            return False
        self._since = None
        self._observer.on_event(Event(name="store.back", text="the store answers again", level="warning"))
        return True


def do_all(acts: Iterable[Callable[[], None]]) -> None:
    """Do each of them, even when the store fails at one; raises the last of its errors in the end."""
    trouble: StoreUnavailable | StoreUnusable | None = None
    for act in acts:
        try:
            act()
        except STORE_TROUBLE as error:
            trouble = error
    if trouble is not None:
        raise trouble
