"""Many organizations for the price of a few: how often the worker turns to the store. Whole runs in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store.grants import Ask, Grant
from orchestrator.store.leases import End
from orchestrator.store.queue import Queue
from orchestrator.store.store import Store
from orchestrator.worker.grants import MOST_ASKED
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[StageMaker]:
    """Makes a stage, whose stores are closed in the end."""
    with ExitStack() as stages:
        yield lambda **how: stages.enter_context(closing(Stage(tmp_path / "s.db", **how)))


class CountedQueue(Queue):
    """A queue that remembers how many members each of its commits had."""

    def __init__(self, store: Store) -> None:
        vars(self).update(vars(store.queue))
        self.asked: list[int] = []
        self.granted: list[int] = []
        self.settled: list[int] = []
        self.looked: list[int] = []
        self.reached: Callable[[Ask], bool] = lambda _: True

    def grant(self, asks: Sequence[Ask]) -> list[Grant]:
        self.asked.append(len(asks))
        grants = [
            super(CountedQueue, self).grant([ask])[0] if self.reached(ask) else Grant(reached=False)
            for ask in asks
        ]
        self.granted += [len(grant.leases) for grant in grants if grant.leases]
        return grants

    def outlook(self, asks: Sequence[Ask]) -> list[Any]:
        self.looked += [len(asks)] if asks else []
        return super().outlook(asks)

    def settle(self, ends: Sequence[End]) -> list[Any]:
        self.settled.append(len(ends))
        return super().settle(ends)


def counted(stage: Stage, count: int) -> tuple[CountedQueue, Callable[[], int]]:
    """A run's queue, and the run: how many snapshots it makes."""
    store = stage.open()
    queue = store.queue = CountedQueue(store)
    worker, notebook = stage.worker(stage.jobfile(count), store=store)

    def run() -> int:
        drive(stage.timeline, [worker], longest=4000.0)
        return len(notebook.results)

    return queue, run


def test_all_that_are_due_are_asked_for_at_once(stage: StageMaker) -> None:
    """As many as one commit takes, and each with as many requests as it has room for."""
    organizations = MOST_ASKED + 10
    queue, run = counted(stage(organizations=organizations), 5)
    assert run() == 5 * organizations
    assert queue.asked[:2] == [MOST_ASKED, 10]
    assert queue.granted == [1] * organizations + [4] * organizations


def test_waits_that_another_process_may_have_changed_are_looked_at_together(stage: StageMaker) -> None:
    """Whatever it did at twenty organizations since the last look, that is one look."""
    both = stage(organizations=20)
    store = both.open()
    queue = store.queue = CountedQueue(store)
    first, _ = both.worker(both.jobfile(5))
    second, _ = both.worker(both.jobfile(10), store=store, run_id="r2", again=True)
    drive(both.timeline, [first, second], longest=9000.0)
    assert queue.looked == [20]


def test_answers_that_have_come_are_settled_at_once(stage: StageMaker) -> None:
    """All of one moment with one call."""
    queue, run = counted(stage(organizations=20), 5)
    run()
    assert [count for count in queue.settled if count] == [20, 80]


def test_an_organization_that_somebody_else_had_locked_is_asked_for_again(stage: StageMaker) -> None:
    """Soon, and the others do not wait for it."""
    queue, run = counted(stage(organizations=3), 1)
    answers = iter([False] * 5)  # of the second one's lock
    queue.reached = lambda ask: not ask.organization.endswith("2") or next(answers, True)
    assert run() == 3
    assert queue.asked[:6] == [3, 1, 1, 1, 1, 1]
