"""The store's files under its processes: renamed, replaced, removed; and the kernel's locks on them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.core.errors import StoreGone
from orchestrator.core.tasks import RunState, Snapshot, Status
from orchestrator.store.store import Store, open_store
from tests.store.world import LIMIT, UNCERTAIN, SqliteWorld, created, queued
from tests.support.clock import VirtualClock
from tests.support.single import give_back, grant, mark_sending, settle

# -- what its name stands for ------------------------------------------------------------------------------


def rename_it(store: Path) -> None:
    store.rename(f"{store}.old")


def rename_all(store: Path) -> None:
    for name in ("", "-wal", "-shm"):
        Path(f"{store}{name}").rename(f"{store}.old{name}")


def rename_the_folder(store: Path) -> None:
    store.parent.rename(f"{store.parent}.old")


def remove_it(store: Path) -> None:
    store.unlink()


def remove_the_log(store: Path) -> None:
    Path(f"{store}-wal").unlink()


def remove_the_shared_memory(store: Path) -> None:
    Path(f"{store}-shm").unlink()


def put_a_copy_in_its_place(store: Path) -> None:
    shutil.copy(store, f"{store}.copy")
    Path(f"{store}.copy").replace(store)


def put_another_in_its_place(store: Path) -> None:
    rename_all(store)
    open_store(str(store), clock=VirtualClock()).close()


MOVES: list[Callable[[Path], None]] = [
    rename_it,
    rename_all,
    rename_the_folder,
    remove_it,
    remove_the_log,
    remove_the_shared_memory,
    put_a_copy_in_its_place,
    put_another_in_its_place,
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SqliteWorld]:
    """A store in a folder of its own."""
    made = SqliteWorld(tmp_path / "place" / "store.db")
    yield made
    made.close()


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_nothing_is_granted_or_sent_from_a_store_that_others_do_not_find(
    world: SqliteWorld, move: Callable[[Path], None]
) -> None:
    """The process says so; what is on the wire still ends in the file that it has open."""
    acme = world.begin(12)
    sent, leased = world.sent(acme), world.lease(acme)
    move(world.path)
    acts: list[Callable[[], object]] = [
        world.store.verify,
        lambda: grant(world.store, world.ask(acme)),
        lambda: mark_sending(world.store, leased),
    ]
    for act in acts:
        with pytest.raises(StoreGone, match=r"store\.db.* was renamed, replaced or removed while"):
            act()
    settle(world.store, sent, created(sent))
    give_back(world.store, leased)
    assert world.states()[0] is Status.CREATED


def test_a_link_that_leads_to_another_store_is_noticed(tmp_path: Path) -> None:
    """The file stays as it was; its name stands for another one now."""
    first, second, link = tmp_path / "first.db", tmp_path / "second.db", tmp_path / "store.db"
    for path in (first, second):
        open_store(str(path), clock=VirtualClock()).close()
    link.symlink_to(first)
    world = SqliteWorld(link)
    acme = world.begin(2)
    world.lease(acme)
    link.unlink()
    link.symlink_to(second)
    with pytest.raises(StoreGone, match=r"store\.db was renamed"):
        grant(world.store, world.ask(acme))
    world.close()


def test_a_store_that_was_written_over_takes_nothing_more(world: SqliteWorld) -> None:
    """By a copy that is older: the number of its changes went back."""
    acme = world.begin(2)
    world.lease(acme)
    with sqlite3.connect(world.path) as other:
        other.execute("UPDATE meta SET changes = 2")
    other.close()
    with pytest.raises(StoreGone, match="an older copy or another store was written over it"):
        grant(world.store, world.ask(acme))


def test_the_log_of_a_new_store_is_not_removed_by_the_end_of_an_old_process(world: SqliteWorld) -> None:
    """SQLite removes a log by its name when it closes a store: it must be its own."""
    acme = world.begin(2)
    world.sent(acme)
    old = world.store
    rename_all(world.path)
    world.store = world.open()
    assert world.begin(2) == acme
    world.end(old)
    world.store.verify()
    assert world.states() == [Status.QUEUED] * 2


def test_moving_other_files_or_looking_disturbs_nobody(world: SqliteWorld) -> None:
    """Others start, look and end beside it, and a backup program reads everything."""
    acme = world.begin(12)
    for _ in range(3):
        other = world.open()
        open_store(world.url, clock=world.clock, read_only=True).close()
        for path in world.path.parent.glob("store.db*"):
            if path.is_file() and path.suffix != ".db":
                shutil.copy(path, world.path.parent.parent)
        world.end(other)
        world.store.verify()
    world.lease(acme)


# -- the kernel's locks ------------------------------------------------------------------------------------


def locks(path: Path) -> set[tuple[str, ...]]:
    """What the kernel's table has of this process's POSIX locks on a file: mode, first and last byte."""
    inode, pid = path.stat().st_ino, os.getpid()
    rows = (line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line)
    return {
        (row[3], row[6], row[7])
        for row in rows
        if row[1] == "POSIX" and row[4] == str(pid) and row[5].endswith(f":{inode}")
    }


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux shows its table of locks")
def test_no_operation_drops_the_locks_on_the_store(world: SqliteWorld) -> None:
    """Closing any descriptor of a file drops all of the process's locks on it: looked at with two stores open."""
    acme = world.begin(12)
    files, other = [world.path, Path(f"{world.path}-shm")], world.open()
    held = [locks(file) for file in files]
    assert all(held), held
    for name, act in operations(world, acme, other).items():
        act()
        assert [locks(file) for file in files] == held, name


def operations(world: SqliteWorld, acme: str, other: Store) -> dict[str, Callable[[], object]]:
    """All that may be done with a store, in an order in which it can be done."""
    queue, runs, views = world.store.queue, world.store.runs, world.store.views
    tuned = world.store.organizations
    return {
        "made": lambda: world.make(acme),
        "uncertain": lambda: settle(world.store, world.sent(acme), UNCERTAIN),
        "again": lambda: settle(world.store, world.sent(acme), queued(retry_in=5.0)),
        "given back": lambda: give_back(world.store, world.lease(acme)),
        "touch": world.store.touch,
        "verify": world.store.verify,
        "outlook": lambda: queue.outlook([world.ask(acme)]),
        "recover": queue.recover,
        "results": lambda: list(views.results("r1")),
        "snapshots": lambda: list(world.store.history.snapshots()),
        "runs": lambda: list(world.store.history.runs()),
        "loss": views.loss,
        "evidence": lambda: world.store.uncertain.due("r1"),
        "hold": lambda: tuned.hold_all_tokens(acme, LIMIT),
        "join": lambda: tuned.join("https://api.example.com/v7", "acme", "1"),
        "try again": lambda: runs.retry_failed("r1"),
        "end": lambda: runs.end("r1", RunState.CANCELLED),
        "look": lambda: open_store(world.url, clock=world.clock, read_only=True).close(),
        "a third one": lambda: world.end(world.open()),
        "the other one's end": lambda: world.end(other),
    }


def test_a_commit_survives_another_store_in_the_same_process(world: SqliteWorld) -> None:
    """What one of two commits is there for the other, whoever opens and closes meanwhile."""
    acme = world.begin(12)
    for number in range(1, 6):
        other = world.open()
        world.make(acme)
        world.end(other)
        assert world.store.views.run("r1").total.created == number
    assert isinstance(next(world.store.views.results("r1")).snapshot, Snapshot)
