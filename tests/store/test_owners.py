"""Real processes, killed, stopped, forgotten: the kernel or the server lets go of their locks, or somebody else does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import StoreUnavailable, StoreUnusable
from orchestrator.core.tasks import Counts, Status
from orchestrator.store import sql
from orchestrator.store.files import refuse_names
from orchestrator.store.store import open_store
from tests.store.mortal import Mortal, mortal
from tests.store.world import BASE_URL, LIMIT, PostgresWorld, SqliteWorld, World, created
from tests.support.programs import find_program, skip_outside_ci
from tests.support.single import give_back, settle

pytestmark = pytest.mark.process

PATIENCE = 60.0
"""Seconds for what takes a moment on a machine that does nothing else."""


def begin(world: World, count: int) -> str:
    """A run that this process serves no organization of."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.begin(count)
    world.store.queue.serve("r1", [])
    return acme


def wipe_out(world: World) -> None:
    """Take away, from outside, by what all processes of a store are known to live."""
    if isinstance(world, PostgresWorld):
        world.cut()
    else:
        assert isinstance(world, SqliteWorld)
        shutil.rmtree(f"{world.path}.owners")


def recover(world: World) -> int:
    """What this process takes over, once its own session is there again."""
    try:
        return world.store.queue.recover()
    except StoreUnavailable:
        return world.store.queue.recover()


def do(other: Mortal, word: str) -> str:
    """What came of a word to another process, once its session is there again."""
    said = other.do(word)
    return other.do(word) if said == "StoreUnavailable" else said


def take_over(world: World) -> int:
    """Take over from the dead; a server notices a moment after the kernel that one is."""
    clock = SystemClock()
    patience_ends = clock.boot() + PATIENCE
    while not (recovered := recover(world)):
        assert clock.boot() < patience_ends, "nothing was taken over"
    return recovered


@pytest.mark.parametrize("send", [False, True], ids=["leased", "sending"])
def test_a_killed_process_is_taken_over(world: World, *, send: bool) -> None:
    """Alive it is left alone; dead, what it had sent is uncertain and the rest is queued."""
    acme = begin(world, 2)
    with mortal(world.url, acme) as other:
        assert other.do("grant") == "granted"
        if send:
            assert other.do("send") == "done"
        assert world.store.queue.recover() == 0
        assert world.store.views.run("r1").processes == 1
        other.kill()
        assert take_over(world) == 1
    assert world.states() == [Status.UNCERTAIN if send else Status.QUEUED, Status.QUEUED]
    assert world.store.views.run("r1").processes == 0
    assert world.store.views.run("r1").total == (Counts(uncertain=1, queued=1) if send else Counts(queued=2))


def test_a_living_process_that_was_taken_for_dead_is_known_to_live_again(world: World) -> None:
    """Its session was cut, or its lock's file removed, and others forgot it: when it is killed later, it is taken over."""
    acme = begin(world, 4)
    with mortal(world.url, acme) as other:
        assert other.do("grant") == "granted"
        assert other.do("send") == "done"
        wipe_out(world)
        assert take_over(world) == 1
        with world.store._database.read() as tx:
            assert len(tx.rows(sql.OWNERS)) == 1
        assert do(other, "grant") == "granted"
        assert world.store.views.run("r1").processes == 1
        assert world.store.queue.recover() == 0
        assert other.do("send") == "done"
        other.kill()
        assert take_over(world) == 1
    assert world.store.views.run("r1").total == Counts(uncertain=2, queued=2)
    assert world.store.views.run("r1").processes == 0


def test_a_process_that_only_looks_on_is_known_to_live_again(world: World) -> None:
    """It may have nothing to ask for at the moment; its look for dead ones is enough."""
    acme = begin(world, 4)
    with mortal(world.url, acme) as other:
        assert other.do("grant") == "granted"
        wipe_out(world)
        assert take_over(world) == 1
        assert world.store.views.run("r1").processes == 0
        do(other, "recover")
        assert world.store.views.run("r1").processes == 1


def test_who_is_named_on_a_task_is_taken_over_though_nothing_else_is_known_of_it(world: World) -> None:
    """The word of a process being alive is gone, whoever removed it: it is dead if nobody holds its lock."""
    acme = begin(world, 3)
    with mortal(world.url, acme) as other:
        assert other.do("grant") == "granted"
        assert other.do("send") == "done"
        with world.store._database.write() as tx:
            tx.change("DELETE FROM owner")
        assert world.store.queue.recover() == 0
        other.kill()
        assert take_over(world) == 1
    assert world.store.views.run("r1").total == Counts(uncertain=1, queued=2)


def test_a_process_that_stood_still_and_was_taken_for_dead_sends_nothing_of_what_it_had(world: World) -> None:
    """What it was granted went to another one meanwhile: its own lease is lost, and the snapshot is made once."""
    acme = begin(world, 1)
    with mortal(world.url, acme) as other:
        assert other.do("grant") == "granted"
        other.stop()
        wipe_out(world)
        assert take_over(world) == 1
        lease = world.sent(acme)
        settle(world.store, lease, created(lease))
        other.tell("send")
        other.go_on()
        assert other.hear() in ("LeaseLost", "StoreUnavailable")
        assert other.do("send") == "LeaseLost"
        assert other.do("settle") == "LeaseLost"
        assert do(other, "grant") == "None"
    assert world.store.views.run("r1").total == Counts(created=1)


def test_an_answer_that_comes_after_its_process_was_taken_for_dead_is_stored(world: World) -> None:
    """It stood still with a request on the wire: that is uncertain, until the answer says that it was made."""
    acme = begin(world, 2)
    with mortal(world.url, acme) as other:
        assert other.do("grant") == "granted"
        assert other.do("send") == "done"
        other.stop()
        wipe_out(world)
        assert take_over(world) == 1
        assert world.store.views.run("r1").total == Counts(uncertain=1, queued=1)
        other.go_on()
        assert do(other, "settle") == "done"
    assert world.store.views.run("r1").total == Counts(created=1, queued=1)
    held = [token.returns_at - world.store.now() for token in world.store.organizations.bucket(acme).tokens]
    assert held == [LIMIT.hold]


# -- one file, one name ------------------------------------------------------------------------------------


def linked_file(store: Path, place: Path) -> Path:
    (place / "link.db").symlink_to(store)
    return place / "link.db"


def linked_folder(store: Path, place: Path) -> Path:
    (place / "folder").symlink_to(store.parent, target_is_directory=True)
    return place / "folder" / store.name


def up_and_down(store: Path, place: Path) -> Path:
    (place / "deep").symlink_to(store.parent / "elsewhere" / "deep", target_is_directory=True)
    (store.parent / "elsewhere" / "deep").mkdir(parents=True)
    return place / "deep" / ".." / ".." / store.name


@pytest.mark.parametrize("way", [linked_file, linked_folder, up_and_down])
def test_a_process_is_seen_by_whatever_way_it_came_to_the_file(
    sqlite_world: SqliteWorld, tmp_path: Path, way: Callable[[Path, Path], Path]
) -> None:
    """Through a link to the file, to its folder, or up from behind one: alive it is left alone, dead it is taken over."""
    world = sqlite_world
    acme = begin(world, 3)
    (tmp_path / "place").mkdir()
    with mortal(way(world.path, tmp_path / "place"), acme) as other:
        assert other.do("grant") == "granted"
        assert other.do("send") == "done"
        assert world.store.queue.recover() == 0
        lease = world.lease(acme)
        assert other.do("recover") == "0"
        give_back(world.store, lease)
        other.kill()
        assert world.store.queue.recover() == 1
    assert world.store.views.run("r1").total == Counts(uncertain=1, queued=2)
    assert [path.name for path in tmp_path.glob("**/*.owners")] == ["store.db.owners"]


def test_a_file_with_a_second_name_is_refused(sqlite_world: SqliteWorld, tmp_path: Path) -> None:
    """SQLite's log lies beside the name: of who came by the other one nothing would be seen."""
    sqlite_world.begin(1)
    sqlite_world.end(sqlite_world.store)
    other = tmp_path / "other.db"
    other.hardlink_to(sqlite_world.path)
    for name in (other, sqlite_world.path):
        with pytest.raises(StoreUnusable, match=r"second name \(a hard link\).*find / -xdev -samefile"):
            open_store(str(name), clock=sqlite_world.clock)
    other.unlink()
    sqlite_world.open()


OPEN = """
import sys
from orchestrator.core.clock import SystemClock
from orchestrator.store.store import open_store
open_store(sys.argv[1], clock=SystemClock())
"""


def test_a_file_that_is_mounted_without_its_folder_is_refused(tmp_path: Path) -> None:
    """A really mounted one, where this machine lets us: what SQLite writes beside it would be nobody else's."""
    store, place = tmp_path / "store.db", tmp_path / "place.db"
    open_store(str(store), clock=SystemClock()).close()
    place.touch()
    script = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"'
    unshare = str(find_program("unshare", "util-linux"))
    command = [unshare, "-m", "sh", "-c", script, "sh", str(store), str(place), sys.executable, OPEN]
    if os.geteuid() != 0 or subprocess.run([unshare, "-m", "true"], check=False).returncode:
        skip_outside_ci("mounting needs root and a kernel that lets it have name spaces of its own")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "StoreUnusable" in done.stderr
    assert f"sqlite:///{place}: the file is mounted by itself" in done.stderr
    assert not [path.name for path in tmp_path.glob("place.db?*")]


def test_a_file_of_a_mounted_folder_is_not_refused(sqlite_world: SqliteWorld, tmp_path: Path) -> None:
    """Nor is one on a machine that has no list of mounts."""
    mounts = tmp_path / "mounts"
    refuse_names(sqlite_world.path, mounts)
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 {tmp_path} ext4 rw 0 0\n")
    refuse_names(sqlite_world.path, mounts)
