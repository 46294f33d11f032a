"""Turns of processes that write to one SQLite store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.clock import Clock, SystemClock
from orchestrator.store import locks
from orchestrator.store.locks import NEXT, PATIENCE, TURN, Turns
from tests.store.world import SqliteWorld
from tests.support.clock import VirtualClock


@contextmanager
def turns(folder: Path, clock: Clock) -> Iterator[Turns]:
    """A process's place among those that write to the store `s.db` there."""
    (folder / "s.db.owners").mkdir(exist_ok=True)
    one = Turns(folder / "s.db", clock)
    one.open()
    yield one
    one.close()


class Waiting(SystemClock):
    """A clock that says when somebody begins to wait by it."""

    def __init__(self) -> None:
        self.begun, self.done = threading.Event(), threading.Event()

    def sleep(self, seconds: float) -> None:
        self.begun.set()
        self.done.wait(seconds)


@pytest.mark.process
def test_who_wants_another_turn_waits_behind_the_one_that_is_next(tmp_path: Path) -> None:
    """However quickly it comes back: SQLite alone would let it in first, again and again."""
    order: list[str] = []
    clock = Waiting()
    with turns(tmp_path, Waiting()) as mine, turns(tmp_path, clock) as theirs:

        def wait() -> None:
            with theirs.take():
                order.append("theirs")

        other = threading.Thread(target=wait)
        with mine.take():
            order.append("mine")
            other.start()
            clock.begun.wait()
        with mine.take():
            order.append("mine")
        other.join()
    assert order == ["mine", "theirs", "mine"]


def test_a_turn_that_never_ends_is_waited_for_no_longer_than_patience(tmp_path: Path) -> None:
    """Whoever stands still in it: SQLite's own lock says what there is to be said of that."""
    clock = VirtualClock()
    before = clock.boot()
    with turns(tmp_path, clock) as mine, turns(tmp_path, clock) as theirs, theirs.take(), mine.take():
        assert PATIENCE <= clock.boot() - before <= PATIENCE + locks.LONGEST_PAUSE


@given(st.floats(0, 100), st.floats(0, 100))
def test_who_has_waited_for_longer_looks_more_often(one: float, other: float) -> None:
    """So that nobody waits for many times as long as everybody else does."""
    assert (one <= other) == (locks.pause(one) >= locks.pause(other)) or locks.pause(one) == locks.pause(
        other
    )


@pytest.mark.parametrize("name", [NEXT, TURN])
def test_the_files_of_turns_are_not_those_of_processes(sqlite_world: SqliteWorld, name: str) -> None:
    """A store that everybody has left in good order has lost nothing."""
    sqlite_world.begin(1)
    sqlite_world.end(sqlite_world.store)
    assert (sqlite_world.path.with_name(f"{sqlite_world.path.name}.owners") / name).exists()
    again = sqlite_world.open()
    assert again.views.loss() is None
