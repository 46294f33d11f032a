"""The start of a run: what its user hears before the first request."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.app.make_snapshots import TOLD_EVERY, tell_how_far
from orchestrator.core.events import Event
from orchestrator.core.tasks import Task
from tests.store.world import task
from tests.support.clock import VirtualClock


class Heard:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_event(self, event: Event) -> None:
        self.texts.append(event.text)


def told(seconds: float, many: int) -> tuple[int, list[str]]:
    """How many tasks came through, and what was told, if each of them takes so long."""
    clock, heard = VirtualClock(), Heard()

    def plan() -> Iterator[Task]:
        for number in range(many):
            clock.advance(seconds)
            yield task(number, "acme")

    tasks = list(tell_how_far(plan(), many, heard, clock))  # type: ignore[arg-type] # as much of an observer as it needs
    return len(tasks), heard.texts


def test_a_plan_that_is_stored_at_once_is_not_worth_a_word() -> None:
    """Most are there within a second."""
    assert told(TOLD_EVERY / 1024, 1023) == (1023, [])


def test_a_long_plan_says_how_far_it_is() -> None:
    """A million snapshots take minutes, in which nothing else happens."""
    number, texts = told(TOLD_EVERY / 1024, 3073)
    assert (number, len(texts)) == (3073, 3)
    assert texts[0] == "the plan is being stored: 1,023 of up to 3,073 snapshots; nothing is sent before that"
