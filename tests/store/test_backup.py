"""A copy of the store while others work on it, and a store that was put back from one."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.core.errors import StoreUnavailable, StoreUnusable, UsageError
from orchestrator.core.tasks import Run, RunState, Status
from orchestrator.ratelimit.bucket import longest_hold
from orchestrator.store.backup import _name, back_up, restore
from orchestrator.store.store import open_store
from tests.store.mortal import mortal
from tests.store.world import BASE_URL, FAILED, LIMIT, TIMEOUT, PostgresWorld, SqliteWorld, World, task
from tests.support.single import settle

HOLD = longest_hold(LIMIT, TIMEOUT)


def taken(world: SqliteWorld) -> Path:
    """A backup of the store as it is now."""
    file = world.path.with_name("backup.db")
    back_up(world.url, file, world.clock)
    return file


def lost(world: SqliteWorld) -> None:
    """The store and all that lay beside it is gone, its process too."""
    world.crash(world.store)
    for one in world.path.parent.glob("store.db*"):
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def put_back(world: SqliteWorld, file: Path) -> None:
    restore(world.url, file, world.clock)
    world.store = world.open()


def test_a_backup_put_back_carries_on_within_the_limit(sqlite_world: SqliteWorld) -> None:
    """All slots are out for one hold, since five may have been used after it was taken; then the run goes on, flagged."""
    world = sqlite_world
    acme = world.begin(12)
    for _ in range(2):
        world.make(acme)
    file = taken(world)
    for _ in range(3):
        world.make(acme)
    lost(world)
    put_back(world, file)
    assert world.states() == [Status.CREATED] * 2 + [Status.QUEUED] * 10
    world.store.queue.serve("r1", [acme])
    assert world.wait(acme).until == world.store.now() + HOLD
    world.advance(HOLD)
    leases = [world.sent(acme) for _ in range(5)]
    assert all(lease.duplicate_possible for lease in leases)


def test_what_was_granted_when_it_was_taken_is_uncertain(sqlite_world: SqliteWorld) -> None:
    """Its request may have gone out since: it is not sent again, and evidence is looked for."""
    world = sqlite_world
    acme = world.begin(3)
    world.sent(acme)
    world.lease(acme)
    file = taken(world)
    lost(world)
    put_back(world, file)
    assert world.store.queue.recover() == 2
    assert world.states() == [Status.UNCERTAIN, Status.UNCERTAIN, Status.QUEUED]
    world.advance(HOLD)
    assert len(world.store.uncertain.due("r1")) == 2


def test_what_is_not_known_is_said_until_a_run_has_ended_cleanly(sqlite_world: SqliteWorld) -> None:
    """With the moment that the backup was taken at."""
    world = sqlite_world
    world.begin(1)
    file = taken(world)
    world.advance(1000)
    lost(world)
    put_back(world, file)
    loss = world.store.views.loss()
    assert loss is not None
    assert (
        loss.cause
        == "it was put back as it was at 2026-11-18T11:06:40Z: what was made after that is not known"
    )
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.store.queue.serve("r1", [acme])
    world.advance(HOLD)
    world.make(acme)
    world.store.runs.end("r1", RunState.FINISHED)
    later = world.store.views.loss()
    assert later is not None
    assert later.ended


def test_a_mark_of_the_lost_store_does_not_hide_what_happened(sqlite_world: SqliteWorld) -> None:
    """Only the file was removed: the mark beside it knows of later changes."""
    world = sqlite_world
    acme = world.begin(12)
    file = taken(world)
    world.make(acme)
    world.crash(world.store)
    for name in ("", "-wal", "-shm"):
        Path(f"{world.path}{name}").unlink(missing_ok=True)
    put_back(world, file)
    loss = world.store.views.loss()
    assert loss is not None
    assert "it was put back as it was at" in loss.cause
    world.end(world.store)
    world.store = world.open()
    assert world.store.views.loss() == loss


def test_after_a_reboot_it_is_put_on_the_present_clock(sqlite_world: SqliteWorld) -> None:
    """And all slots are out for one hold of it."""
    world = sqlite_world
    acme = world.begin(2)
    file = taken(world)
    lost(world)
    world.clock.reboot("another boot", 20.0)
    put_back(world, file)
    world.store.queue.serve("r1", [acme])
    assert world.wait(acme).until == world.store.now() + HOLD


def test_a_backup_is_one_file_for_its_user_alone(sqlite_world: SqliteWorld) -> None:
    """Links are capabilities; nothing else is left beside it."""
    world = sqlite_world
    world.begin(2)
    file = taken(world)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in world.path.parent.iterdir() if not one.name.startswith("store.db")] == [
        "backup.db"
    ]
    assert file.read_bytes()[18:20] == b"\x01\x01", "without a log"


def test_a_backup_is_not_taken_for_the_store(sqlite_world: SqliteWorld) -> None:
    """Copied into its place it is refused, by who looks and by who runs: it is put back by its own command."""
    world = sqlite_world
    world.begin(2)
    file = taken(world)
    lost(world)
    shutil.copy(file, world.path)
    for read_only in (False, True):
        with pytest.raises(StoreUnusable, match=r"this is a backup and no store.*tesnap restore FILE"):
            open_store(world.url, clock=world.clock, read_only=read_only)
    world.path.unlink()
    put_back(world, file)
    assert world.states() == [Status.QUEUED] * 2


@pytest.mark.parametrize("read_only", [False, True])
def test_a_backup_under_a_log_that_was_left_is_not_taken_for_the_store(
    sqlite_world: SqliteWorld, *, read_only: bool
) -> None:
    """The log of a process that was killed hides that it is one, and would be mixed with it."""
    world = sqlite_world
    acme = world.begin(12)
    file = taken(world)
    with closing(sqlite3.connect(world.path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    world.make(acme)
    log = Path(f"{world.path}-wal").read_bytes()
    world.crash(world.store)
    shutil.copy(file, world.path)
    Path(f"{world.path}-wal").write_bytes(log)
    with pytest.raises(StoreUnusable, match=r"this is a backup and no store.*tesnap restore FILE"):
        open_store(world.url, clock=world.clock, read_only=read_only)


def test_no_file_is_written_over(sqlite_world: SqliteWorld) -> None:
    """Neither by a backup nor by one that is put back."""
    world = sqlite_world
    world.begin(2)
    file = taken(world)
    content = file.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        back_up(world.url, file, world.clock)
    assert file.read_bytes() == content
    with pytest.raises(UsageError, match="a process is at work on it"):
        restore(world.url, file, world.clock)
    world.end(world.store)
    with pytest.raises(UsageError, match="there is a store already: move it away first"):
        restore(world.url, file, world.clock)
    world.store = world.open()
    assert world.store.views.loss() is None


def test_nothing_is_put_back_under_a_process_that_has_yet_to_register(sqlite_world: SqliteWorld) -> None:
    """It plans a run, or prunes: the store is open there, though its name is gone. Lock files that somebody removed come back."""
    world = sqlite_world
    world.begin(2)
    file = taken(world)
    world.end(world.store)
    planning = world.open()
    for name in ("", "-wal", "-shm"):
        Path(f"{world.path}{name}").rename(f"{world.path}.before{name}")
    with pytest.raises(UsageError, match="a process is at work on it"):
        restore(world.url, file, world.clock)
    shutil.rmtree(f"{world.path}.owners")
    planning.queue.serve("r1", [])
    with pytest.raises(UsageError, match="a process is at work on it"):
        restore(world.url, file, world.clock)
    world.crash(planning)
    put_back(world, file)


@pytest.mark.parametrize("ending", ["-wal", "-journal"])
def test_a_log_that_was_left_is_not_mixed_with_it(sqlite_world: SqliteWorld, ending: str) -> None:
    """It is of the store that was there."""
    world = sqlite_world
    world.begin(2)
    file = taken(world)
    log = Path(f"{world.path}-wal").read_bytes()
    lost(world)
    Path(f"{world.path}{ending}").write_bytes(log)
    with pytest.raises(UsageError, match="there is a store already"):
        restore(world.url, file, world.clock)


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[5000:9000] = b"x" * 4000
    file.write_bytes(content)


def cut(file: Path) -> None:
    os.truncate(file, 10_000)


def with_a_lost_page(file: Path) -> None:
    """Only a look at the whole of it shows that."""
    with closing(sqlite3.connect(file, isolation_level=None)) as copy:
        copy.execute("PRAGMA writable_schema = ON")
        copy.execute("DELETE FROM sqlite_master WHERE name = 'task_event'")


@pytest.mark.parametrize("spoil", [damaged, cut, with_a_lost_page])
def test_a_damaged_backup_is_refused(sqlite_world: SqliteWorld, spoil: Callable[[Path], None]) -> None:
    """Nothing stands in the store's place then."""
    world = sqlite_world
    world.begin(2)
    file = taken(world)
    lost(world)
    spoil(file)
    with pytest.raises((StoreUnusable, UsageError)):
        restore(world.url, file, world.clock)
    assert not world.path.exists()
    assert not list(world.path.parent.glob(".*"))


def test_another_file_is_no_backup(sqlite_world: SqliteWorld, tmp_path: Path) -> None:
    """A copy of the store that was made by other means, a text, nothing at all."""
    world = sqlite_world
    copy, text, nothing = tmp_path / "copy.db", tmp_path / "text.db", tmp_path / "nothing.db"
    with closing(sqlite3.connect(world.path)) as store:
        store.execute("VACUUM INTO ?", [str(copy)])
    text.write_text("hello", encoding="utf-8")
    nothing.touch()
    lost(world)
    for file in (copy, text, nothing):
        with pytest.raises(UsageError, match="this is no backup"):
            restore(world.url, file, world.clock)
    with pytest.raises(UsageError, match="No such file"):
        restore(world.url, tmp_path / "missing.db", world.clock)


def test_a_newer_backup_is_refused(sqlite_world: SqliteWorld) -> None:
    """With what to do."""
    world = sqlite_world
    file = taken(world)
    lost(world)
    with closing(sqlite3.connect(file)) as copy, copy:
        copy.execute("UPDATE meta SET version = 99, oldest = 98")
    with pytest.raises(StoreUnusable, match="Install the newer tesnap"):
        restore(world.url, file, world.clock)


# -- while others work ---------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_backup_taken_while_a_process_writes_is_whole(sqlite_world: SqliteWorld) -> None:
    """As the store is between two of its commits, whenever it is taken; nothing of the process's work is lost."""
    world = sqlite_world
    acme = world.begin(40)
    with mortal(world.path, acme) as other:
        for number in range(5):
            for word in ("grant", "send", "settle"):
                assert other.do(word) in ("granted", "done")
                file = world.path.with_name(f"{number}-{word}.db")
                back_up(world.url, file, world.clock)
                with closing(sqlite3.connect(file)) as copy:
                    (made,) = copy.execute("SELECT COUNT(*) FROM task WHERE status = 'created'").fetchone()
                    (flying,) = copy.execute(
                        "SELECT COUNT(*) FROM task WHERE status IN ('leased', 'sending')"
                    ).fetchone()
                    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert (made, flying) == ((number + 1, 0) if word == "settle" else (number, 1))
    assert world.store.views.run("r1").total.created == 5


@pytest.mark.process
def test_no_lock_of_sqlite_is_lost_by_a_backup(sqlite_world: SqliteWorld) -> None:
    """In the process that has the store open: the kernel knows as many of them before and after it."""
    world = sqlite_world
    world.begin(2)
    before = _kernel_locks(world.path)
    taken(world)
    assert before
    assert _kernel_locks(world.path) == before


def _kernel_locks(store: Path) -> list[str]:
    numbers = {f"{Path(f'{store}{ending}').stat().st_ino}" for ending in ("", "-shm")}
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return sorted(line.partition(": ")[2] for line in lines if line.split()[5].rpartition(":")[2] in numbers)


KILLED = """
import os, pathlib, signal, sys
from orchestrator.core import SystemClock
from orchestrator.store import backup
left = [int(sys.argv[1])]
def killing(act):
    def acting(*arguments, **settings):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return act(*arguments, **settings)
    return acting
for name in ("connect", "_copy", "_sync", "_name", "_bring_back", "note_put_back", "_remove"):
    setattr(backup, name, killing(getattr(backup, name)))
act = backup.back_up if sys.argv[2] == "backup" else backup.restore
pathlib.Path.replace = killing(pathlib.Path.replace)
first, second = (sys.argv[3], pathlib.Path(sys.argv[4]))
act(first, second, SystemClock())
"""
"""A process that is killed before its nth step."""


def killed_before(step: int, *words: str) -> bool:
    """True if a process was killed before this step; False if it had none so far."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(step), *words], check=False, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


@pytest.mark.process
def test_a_backup_that_is_killed_leaves_nothing_or_all_of_it(sqlite_world: SqliteWorld) -> None:
    """At each step; the next one is not hindered."""
    world, step = sqlite_world, 0
    world.begin(30)
    file = world.path.with_name("backup.db")
    whole = []
    while killed_before(step, "backup", world.url, str(file)):
        whole.append(file.exists())
        if file.exists():
            with closing(sqlite3.connect(file)) as copy:
                assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert copy.execute("SELECT COUNT(*) FROM backup").fetchone() == (1,)
            file.unlink()
        step += 1
    assert True in whole
    assert whole.count(False) > 4
    assert file.exists()
    assert not list(file.parent.glob(".*")), "what the killed ones left is cleared away"


@pytest.mark.process
def test_a_restore_that_is_killed_leaves_nothing_or_all_of_it(sqlite_world: SqliteWorld) -> None:
    """At each step; what stands in the store's place holds all slots and knows what it lacks."""
    world, step = sqlite_world, 0
    world.lease(world.begin(30))
    file, whole = taken(world), []
    lost(world)
    while killed_before(step, "restore", world.url, str(file)):
        whole.append(world.path.exists())
        if world.path.exists():
            assert_known_to_lack(world)
        step += 1
    assert_known_to_lack(world)
    assert True in whole
    assert whole.count(False) > 4


def assert_known_to_lack(world: SqliteWorld) -> None:
    """What is in the store's place is a store that was put back; it is removed."""
    world.store = world.open()
    loss = world.store.views.loss()
    assert loss is not None
    assert "it was put back as it was at" in loss.cause
    assert world.store.queue.recover() == 1
    assert world.states().count(Status.UNCERTAIN) == 1
    lost(world)


# -- PostgreSQL, and what was put back by other means --------------------------------------------------------


@pytest.mark.postgres
def test_in_postgresql_it_says_what_to_do_instead(postgres_world: PostgresWorld, tmp_path: Path) -> None:
    """The database has its own means."""
    with pytest.raises(UsageError, match="pg_dump --schema=tesnap"):
        back_up(postgres_world.url, tmp_path / "backup", postgres_world.clock)
    with pytest.raises(UsageError, match="restore --declare TIME"):
        restore(postgres_world.url, tmp_path / "backup", postgres_world.clock)


def test_a_store_that_was_put_back_by_other_means_is_declared(world: World) -> None:
    """All the same follows; while a process is at work it is refused."""
    acme = world.begin(3)
    world.lease(acme)
    other = world.open()
    with pytest.raises(StoreUnavailable, match="is at work on it: stop it first"):
        other.declare_put_back(world.clock.wall() - 100)
    world.crash(world.store)
    world.store = other
    other.declare_put_back(world.clock.wall() - 100)
    loss = other.views.loss()
    assert loss is not None
    assert "it was put back as it was at 2026-11-18T11:05:00Z" in loss.cause
    assert other.queue.recover() == 1
    other.queue.serve("r1", [acme])
    assert (
        other.organizations.bucket(acme, limit=LIMIT, timeout=TIMEOUT).tokens[0].returns_at
        == other.now() + HOLD
    )
    world.advance(HOLD)
    assert world.sent(acme).duplicate_possible


def put_back_otherwise(world: World) -> None:
    """Nobody is at work on the store, which was put back a moment ago."""
    world.store.queue.leave()
    world.advance(1)
    world.store.declare_put_back(world.clock.wall() - 100)
    world.advance(HOLD)


def end_cleanly(world: World, run: str, number: int) -> None:
    """A run of one snapshot, which is made."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.store.runs.start(Run(id=run, job="incident"), [task(number, acme)])
    world.store.queue.serve(run, [acme])
    world.make(acme, run)
    world.store.runs.end(run, RunState.FINISHED)


def test_what_was_known_before_stays_marked_in_a_later_run(world: World) -> None:
    """It may have been made after the copy, whatever has ended cleanly since; so may one that had failed. Others are as ever."""
    acme = world.begin(2)
    settle(world.store, world.sent(acme), FAILED)
    put_back_otherwise(world)
    end_cleanly(world, "clean", 70)
    world.advance(10)
    world.store.runs.start(Run(id="later", job="nightly"), [*world.tasks(2, acme), task(80, acme)])
    world.store.queue.serve("later", [acme])
    leases = [world.sent(acme, "later") for _ in range(3)]
    assert {one.task.test_id: one.duplicate_possible for one in leases} == {"0": True, "1": True, "80": False}


def test_a_run_that_only_knew_of_older_snapshots_is_no_clean_end(world: World) -> None:
    """All of it was made before the copy was: of what was lost nothing was learnt."""
    acme = world.begin(1)
    world.make(acme)
    put_back_otherwise(world)
    world.store.runs.end("r1", RunState.FINISHED)
    world.store.runs.start(Run(id="known", job="nightly"), world.tasks(1, acme))
    world.store.runs.end("known", RunState.FINISHED)
    loss = world.store.views.loss()
    assert loss is not None
    assert not loss.ended
    end_cleanly(world, "clean", 70)
    later = world.store.views.loss()
    assert later is not None
    assert later.ended


def test_a_name_that_somebody_took_meanwhile_is_left_to_them(tmp_path: Path) -> None:
    """Between the first look and the end of the copy; also where files have one name only."""
    draft, target = tmp_path / "draft", tmp_path / "copy.db"
    draft.write_text("ours", encoding="utf-8")
    target.write_text("theirs", encoding="utf-8")
    with pytest.raises(FileExistsError):
        _name(draft, target)
    assert target.read_text("utf-8") == "theirs"
