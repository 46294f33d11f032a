"""A store that is not all that was kept in its place: known when it is opened, and never by mistake."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import StoreUnusable
from orchestrator.core.tasks import Run, RunState, Status
from orchestrator.ratelimit.bucket import longest_hold
from orchestrator.store.loss import Leftovers, Mark
from orchestrator.store.store import Store, open_store, store_exists
from orchestrator.store.views import Loss
from tests.store.world import BASE_URL, LIMIT, TIMEOUT, UNCERTAIN, SqliteWorld, created, task
from tests.support.clock import VirtualClock
from tests.support.single import settle

pytestmark = pytest.mark.process

HOLD = longest_hold(LIMIT, TIMEOUT)


# -- the mark ----------------------------------------------------------------------------------------------

marks = st.builds(
    Mark,
    identity=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    changes=st.integers(0, 2**63 - 1),
    file=st.integers(0, 2**64 - 1),
    own=st.integers(0, 2**64 - 1),
)


@given(marks)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    """All are equally long."""
    assert Mark.decode(mark.encode()) == mark
    assert len(mark.encode()) == 128


@given(marks, marks, st.integers(0, 128))
def test_half_of_a_mark_is_none(old: Mark, new: Mark, cut: int) -> None:
    """It may be read while it is written: then it says the one or the other, or nothing."""
    assert Mark.decode(new.encode()[:cut] + old.encode()[cut:]) in (old, new, None)
    assert Mark.decode(new.encode()[:cut]) in (new, None)


@given(st.binary(max_size=200))
def test_anything_else_is_no_mark(content: bytes) -> None:
    """Nothing is raised for what somebody put there."""
    Mark.decode(content)


@given(marks, st.integers(0, 5), st.booleans(), st.booleans(), st.booleans())
def test_a_store_at_its_mark_or_beyond_is_whole(
    mark: Mark, more: int, logged: bool, used: bool, replaced: bool
) -> None:
    """Whatever else lies there, but for a log that belongs to another file."""
    left = Leftovers(mark=mark, logged=logged, used=used, replaced=replaced)
    cause = left.find_loss(new=False, identity=mark.identity, changes=mark.changes + more)
    assert bool(cause) == (replaced and logged)
    assert left.find_loss(new=True, identity="new", changes=0)
    assert left.find_loss(new=False, identity="another", changes=mark.changes + more)


# -- what is noticed ---------------------------------------------------------------------------------------


def removed(store: Path) -> None:
    for name in ("", "-wal", "-shm"):
        Path(f"{store}{name}").unlink(missing_ok=True)


def removed_with_its_mark(store: Path) -> None:
    removed(store)
    Path(f"{store}.mark").unlink()


def removed_alone(store: Path) -> None:
    store.unlink()


def emptied(store: Path) -> None:
    os.truncate(store, 0)


def without_its_log(store: Path) -> None:
    Path(f"{store}-wal").unlink()


def without_its_log_and_mark(store: Path) -> None:
    Path(f"{store}-wal").unlink()
    Path(f"{store}.mark").unlink()


def without_the_last_log(store: Path) -> None:
    shutil.copy(f"{store}.brought", store)
    without_its_log(store)


def without_the_last_log_and_mark(store: Path) -> None:
    without_the_last_log(store)
    Path(f"{store}.mark").unlink()


def with_a_log_of_zeros(store: Path) -> None:
    log = Path(f"{store}-wal")
    log.write_bytes(bytes(log.stat().st_size))


def with_half_a_log(store: Path) -> None:
    log = Path(f"{store}-wal")
    os.truncate(log, log.stat().st_size // 2)


def older(store: Path) -> None:
    removed(store)
    for name in ("", "-wal"):
        shutil.copy(f"{store}.then{name}", f"{store}{name}")


def of_another_place(store: Path) -> None:
    removed(store)
    open_store(f"{store}.another", clock=VirtualClock()).close()
    shutil.copy(f"{store}.another", store)


def a_copy_beside_the_log(store: Path) -> None:
    shutil.copy(store, f"{store}.copy")
    Path(f"{store}.copy").replace(store)


LOSSES: dict[Callable[[Path], None], str] = {
    removed: "it is empty",
    removed_with_its_mark: "it is empty",
    removed_alone: "it is empty",
    emptied: "it is empty",
    without_its_log: "it is empty",  # nothing was ever brought over from the log
    without_its_log_and_mark: "it is empty",
    without_the_last_log: "missing: an older copy was put back, or its log",
    without_the_last_log_and_mark: "its log .* is missing",
    with_a_log_of_zeros: "it is empty",
    with_half_a_log: "missing: an older copy was put back, or its log",
    older: "missing: an older copy was put back, or its log",
    of_another_place: "another store was here before",
    a_copy_beside_the_log: "replaced while the log beside it",
}


def used(world: SqliteWorld) -> str:
    """A store with a copy from some time ago, five snapshots since, and a process that was killed; its organization."""
    acme = world.begin(12)
    for name in ("", "-wal"):
        shutil.copy(f"{world.path}{name}", f"{world.path}.then{name}")
    with closing(sqlite3.connect(world.path)) as other:  # as the file is after a checkpoint
        other.execute("VACUUM INTO ?", [f"{world.path}.brought"])
    for _ in range(5):
        world.make(acme)
    return acme


CHILD = """
import os, pathlib, signal, sys
from tests.store.test_loss import SqliteWorld, used
used(SqliteWorld(pathlib.Path(sys.argv[1])))
os.kill(os.getpid(), signal.SIGKILL)
"""


class AfterKill(SqliteWorld):
    """The machine after a process was killed: its files as they were at that moment, a log and a lock file too."""

    def __init__(self, path: Path) -> None:
        done = subprocess.run([sys.executable, "-c", CHILD, str(path)], check=False, timeout=300)
        assert done.returncode == -signal.SIGKILL
        self.path, self.url, self.clock = path, f"sqlite:///{path}", VirtualClock()
        self._opened = []


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[AfterKill]:
    """A store whose process is dead."""
    world = AfterKill(tmp_path / "place" / "store.db")
    yield world
    world.close()


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_store_that_was_lost_holds_all_slots_and_marks_what_is_sent(
    killed: AfterKill, lose: Callable[[Path], None]
) -> None:
    """For one hold, and until a run has ended with everything made."""
    lose(killed.path)
    assert_shown(killed, LOSSES[lose])
    killed.store = killed.open()
    assert_lost(killed.store, LOSSES[lose])
    acme, begun = killed.store.organizations.join(BASE_URL, "acme", None), killed.store.now()
    killed.store.runs.start(Run(id="again", job="nightly"), [task(20, acme), task(21, acme)])
    killed.store.queue.serve("again", [acme])
    assert killed.wait(acme, "again").until == begun + HOLD
    killed.advance(HOLD)
    for _ in range(2):
        lease = killed.sent(acme, "again")
        assert lease.duplicate_possible
        settle(killed.store, lease, created(lease))
    assert {one.duplicate_possible for one in killed.store.views.results("again")} == {True}
    killed.store.runs.end("again", RunState.FINISHED)
    later = Run(id="later", job="nightly", created_at=killed.clock.wall() + 1)
    killed.store.runs.start(later, [task(30, acme)])
    assert not killed.lease(acme, "later").duplicate_possible
    loss = killed.store.views.loss()
    assert loss is not None
    assert loss.ended
    killed.end(killed.store)
    killed.store = killed.open()
    assert killed.store.views.loss() == loss


def assert_shown(world: SqliteWorld, words: str) -> None:
    """What only looks says so too, in whatever is left of the store; it changes nothing."""
    try:
        look = open_store(world.url, clock=world.clock, read_only=True)
    except StoreUnusable as error:
        assert re.search(f"{words}|there is no store", str(error))  # noqa: PT017 - it is one of several things to show
        return
    with closing(look):
        assert_lost(look, words)


def assert_lost(store: Store, words: str) -> None:
    """The loss is known, for this cause, and concerns what is sent."""
    loss = store.views.loss()
    assert isinstance(loss, Loss)
    assert not loss.ended
    assert re.search(words, loss.cause), loss.cause


def test_all_of_a_lost_run_stays_marked_when_another_one_ends(killed: AfterKill) -> None:
    """What was planned before the first clean end may exist already, however long it takes."""
    emptied(killed.path)
    killed.store = killed.open()
    acme = killed.begin(3, run="long")
    killed.begin(1, run="short")
    killed.advance(HOLD)
    killed.make(acme, "short")
    killed.store.runs.end("short", RunState.FINISHED)
    loss = killed.store.views.loss()
    assert loss is not None
    assert loss.ended
    assert killed.lease(acme, "long").duplicate_possible


def test_a_run_without_snapshots_is_no_clean_end(killed: AfterKill) -> None:
    """Nothing was made, and nothing looked for: it says nothing of what is there."""
    emptied(killed.path)
    killed.store = killed.open()
    killed.begin(0, run="nothing")
    killed.store.runs.end("nothing", RunState.FINISHED)
    assert_lost(killed.store, "empty")


def test_a_run_that_was_not_made_in_full_is_no_clean_end(killed: AfterKill) -> None:
    """Something of it failed."""
    emptied(killed.path)
    killed.store = killed.open()
    acme = killed.begin(1, run="again")
    killed.advance(HOLD)
    settle(killed.store, killed.sent(acme, "again"), UNCERTAIN)
    killed.store.runs.end("again", RunState.FINISHED)
    assert_lost(killed.store, "empty")


def test_the_hold_goes_on_after_a_reboot(killed: AfterKill) -> None:
    """What was left of it when anything was last granted: no calendar is believed."""
    emptied(killed.path)
    killed.store = killed.open()
    acme = killed.begin(1, run="again")
    killed.advance(100)
    killed.store.touch()
    killed.crash(killed.store)
    killed.clock.set_wall(killed.clock.wall() + 1000)
    killed.clock.reboot("another boot", 20.0)
    killed.store = killed.open()
    killed.store.queue.serve("again", [acme])
    assert killed.wait(acme, "again").until == killed.store.now() + HOLD - 100


# -- what is no loss ---------------------------------------------------------------------------------------


def loss_of(world: SqliteWorld) -> Loss | None:
    """What a look and then an opening find."""
    with closing(open_store(world.url, clock=world.clock, read_only=True)) as look:
        seen = look.views.loss()
    with closing(open_store(world.url, clock=world.clock)) as store:
        assert store.views.loss() == seen
    return seen


def test_kills_and_ends_are_no_loss(killed: AfterKill) -> None:
    """A log that is left, one that is removed at a clean end, dead processes' lock files, starts side by side."""
    for _ in range(3):
        first, second = killed.open(), killed.open()
        first.queue.serve("r1", [])
        second.queue.serve("r1", [])
        first.touch()
        killed.crash(first)
        assert loss_of(killed) is None
        killed.end(second)
        assert loss_of(killed) is None
    assert not Path(f"{killed.path}-wal").exists()
    assert len(list(Path(f"{killed.path}.owners").iterdir())) > 1


def test_a_checkpoint_is_no_loss(killed: AfterKill) -> None:
    """By a person with SQLite's own program, too, who leaves no log behind."""
    with closing(sqlite3.connect(killed.path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("VACUUM")
    assert not Path(f"{killed.path}-wal").exists()
    assert loss_of(killed) is None


def test_a_folder_that_was_moved_or_copied_whole_is_no_loss(killed: AfterKill) -> None:
    """All that belongs together came along; nobody can tell whether another process goes on in the old place."""
    folder = killed.path.parent
    shutil.copytree(folder, folder.with_name("copied"))
    folder.rename(folder.with_name("moved"))
    for name in ("copied", "moved"):
        killed.path = folder.with_name(name) / "store.db"
        killed.url = f"sqlite:///{killed.path}"
        assert loss_of(killed) is None


def test_a_store_without_a_mark_is_no_loss(killed: AfterKill) -> None:
    """It was copied to another place alone, or its mark cannot be read."""
    mark = Path(f"{killed.path}.mark")
    mark.write_bytes(b"x" * 128)
    assert loss_of(killed) is None
    mark.unlink()
    shutil.rmtree(f"{killed.path}.owners")
    assert loss_of(killed) is None
    assert Mark.decode(mark.read_bytes()) is not None


def test_a_power_cut_that_takes_the_mark_back_is_no_loss(tmp_path: Path) -> None:
    """It is not synced: an older one says nothing."""
    world = SqliteWorld(tmp_path / "store.db")
    acme = world.begin(12)
    mark = Path(f"{world.path}.mark")
    before = mark.read_bytes()
    for _ in range(5):
        world.make(acme)
    mark.write_bytes(before)
    world.crash(world.store)
    assert loss_of(world) is None
    assert world.clock.boot() < HOLD * 100


def test_a_new_store_is_no_loss(tmp_path: Path) -> None:
    """Where none was before."""
    world = SqliteWorld(tmp_path / "store.db")
    world.begin(1)
    assert world.store.views.loss() is None
    assert world.states() == [Status.QUEUED]
    world.close()


def test_a_store_that_was_removed_is_said_to_who_only_looks(killed: AfterKill) -> None:
    """Its mark shows that it is not one that was never made; nothing is made by looking."""
    removed(killed.path)
    with pytest.raises(StoreUnusable, match="the store's file is gone: it was removed or renamed"):
        store_exists(killed.url)
    assert not killed.path.exists()
    Path(f"{killed.path}.mark").unlink()
    assert not store_exists(killed.url)
