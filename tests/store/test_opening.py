"""A store's opening, which one process at a time has to itself: the others are told who has it."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from orchestrator.store.backup import back_up, restore
from orchestrator.store.locks import OFTEN, OPENING, SOON, Holder, Owners
from orchestrator.store.store import open_store
from tests.support.clock import VirtualClock


def holder_in(folder: Path) -> Holder:
    """What the last process that had the opening of `s.db` to itself has written for those who waited."""
    return Holder(**json.loads((folder / "s.db.owners" / OPENING).read_text()))


def test_who_waits_is_told_who_has_it_and_since_when(tmp_path: Path) -> None:
    """After the first moment, and then once a minute, until it is free."""
    clock = VirtualClock()
    told: list[tuple[float, Holder | None]] = []
    with ExitStack() as held:
        began = clock.boot(), clock.wall()
        held.enter_context(Owners(tmp_path / "s.db", clock=clock).lock_opening("writes its file anew"))

        def tell(holder: Holder | None) -> None:
            told.append((clock.boot() - began[0], holder))
            if len(told) == 3:
                held.close()

        with Owners(tmp_path / "s.db", on_held=tell, clock=clock).lock_opening("opens it"):
            assert clock.boot() - began[0] < SOON + 2 * OFTEN + 1
    assert [round(at) for at, _ in told] == [SOON, SOON + OFTEN, SOON + 2 * OFTEN]
    assert {holder for _, holder in told} == {
        Holder("writes its file anew", pid=os.getpid(), host=os.uname().nodename, since=began[1])
    }


@pytest.mark.parametrize("written", ["", "7", "{}", '{"does": "opens it"', "\x00"])
def test_a_holder_that_says_nothing_is_told_as_such(tmp_path: Path, written: str) -> None:
    """An older version writes nothing into its lock file, and anybody may be about to."""
    clock, told = VirtualClock(), list[Holder | None]()
    with ExitStack() as held:
        held.enter_context(Owners(tmp_path / "s.db", clock=clock).lock_opening("opens it"))
        (tmp_path / "s.db.owners" / OPENING).write_text(written)

        def tell(holder: Holder | None) -> None:
            told.append(holder)
            held.close()

        with Owners(tmp_path / "s.db", on_held=tell, clock=clock).lock_opening("opens it"):
            pass
    assert told == [None]


def test_an_opening_that_is_free_soon_is_no_news(tmp_path: Path) -> None:
    """Two starts in one moment are everyday."""
    told: list[Holder | None] = []

    with ExitStack() as held:

        class Releasing(VirtualClock):
            def sleep(self, seconds: float) -> None:
                super().sleep(seconds)
                held.close()

        held.enter_context(Owners(tmp_path / "s.db").lock_opening("opens it"))
        with Owners(tmp_path / "s.db", on_held=told.append, clock=Releasing()).lock_opening("opens it"):
            pass
    assert told == []


def test_each_who_has_the_opening_says_what_for(tmp_path: Path) -> None:
    """Whoever opens the store, or puts a backup in its place; of the longer words before nothing stays."""
    clock, address = VirtualClock(), f"sqlite:///{tmp_path}/s.db"
    with closing(open_store(address, clock=clock)):
        assert holder_in(tmp_path).does == "opens it"
    back_up(address, tmp_path / "copy.db", clock)
    (tmp_path / "s.db").unlink()
    restore(address, tmp_path / "copy.db", clock)
    assert holder_in(tmp_path).does == "puts a backup in its place (tesnap restore)"
    with closing(open_store(address, clock=clock)):
        assert holder_in(tmp_path).does == "opens it"
