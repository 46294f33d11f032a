"""What only the SQLite store has: a file, its modes, a boot clock, a lock beside it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import StoreTrouble, StoreUnavailable, StoreUnusable, UsageError
from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Closing, Counts, Run, RunState
from orchestrator.ratelimit.bucket import REBOOT_MARGIN
from orchestrator.store import sql
from orchestrator.store import sqlite as sqlite_store
from orchestrator.store.address import sqlite_address
from orchestrator.store.files import refuse_network
from orchestrator.store.locks import Owners
from orchestrator.store.store import Store, open_store
from tests.store.world import BASE_URL, LIMIT, TIMEOUT, UNCERTAIN, SqliteWorld, queued, task
from tests.support.clock import VirtualClock
from tests.support.single import settle

HOUR = 3600.0
UNANSWERED = TIMEOUT + LIMIT.grace + LIMIT.per


def reboot(world: SqliteWorld, *, wall: float, boot: float = 20.0) -> None:
    """The machine starts anew, its calendar `wall` seconds on; all its processes are gone."""
    world.crash(world.store)
    world.clock.set_wall(world.clock.wall() + wall)
    world.clock.reboot("another boot", boot)
    world.store = world.open()


# -- the boot clock ----------------------------------------------------------------------------------------


def test_after_a_long_reboot_tokens_are_in(sqlite_world: SqliteWorld) -> None:
    """The calendar leaves no doubt: their hold and ten minutes have passed."""
    acme = sqlite_world.begin(12)
    for _ in range(5):
        sqlite_world.make(acme)
    reboot(sqlite_world, wall=LIMIT.hold + REBOOT_MARGIN)
    sqlite_world.lease(acme)


def test_after_a_short_reboot_tokens_are_out_for_one_hold(sqlite_world: SqliteWorld) -> None:
    """From the first look, not from each."""
    acme = sqlite_world.begin(12)
    for _ in range(5):
        sqlite_world.make(acme)
    reboot(sqlite_world, wall=LIMIT.hold + REBOOT_MARGIN - 1)
    first_look = sqlite_world.store.now()
    sqlite_world.advance(100)
    assert sqlite_world.wait(acme).until == first_look + LIMIT.hold


class CountedClock(VirtualClock):
    """A clock that knows how often it was read."""

    readings = 0

    def boot(self) -> float:
        self.readings += 1
        return super().boot()


def readings_of_a_look(path: Path, organizations: int) -> int:
    """How often the clock is read while a store of so many organizations is seen to."""
    clock = CountedClock()
    with contextlib.closing(open_store(sqlite_address(path), clock=clock)) as store:
        for number in range(organizations):
            store.organizations.join(BASE_URL, f"customer-{number}", f"{number}")
        with store._database.write() as tx:
            tx.change("UPDATE bucket SET last_grant = :now", now=tx.now())
        before = clock.readings
        store.queue.recover()
        return clock.readings - before


def test_the_look_for_a_clock_that_was_set_back_reads_it_once(tmp_path: Path) -> None:
    """Not for each organization for which something was ever granted."""
    assert readings_of_a_look(tmp_path / "many.db", 20) == readings_of_a_look(tmp_path / "one.db", 1)


def test_a_calendar_set_back_is_not_believed(sqlite_world: SqliteWorld) -> None:
    """It says nothing about how long ago anything was."""
    acme = sqlite_world.begin(12)
    sqlite_world.make(acme)
    sqlite_world.advance(2 * HOUR)
    sqlite_world.lease(acme)
    reboot(sqlite_world, wall=-HOUR)
    now = sqlite_world.store.now()
    assert [token.returns_at for token in sqlite_world.store.organizations.bucket(acme).tokens] == [
        now + LIMIT.hold,
        now + UNANSWERED,
    ]


def test_what_has_no_answer_is_out_for_longer_after_a_short_reboot(sqlite_world: SqliteWorld) -> None:
    """The server may still act upon it."""
    acme = sqlite_world.begin(12)
    for _ in range(5):
        sqlite_world.sent(acme)
    reboot(sqlite_world, wall=8)
    first_look = sqlite_world.store.now()
    sqlite_world.store.queue.recover()
    sqlite_world.store.queue.serve("r1", [acme])
    assert sqlite_world.wait(acme).until == first_look + UNANSWERED


def test_a_gate_stays_closed_over_a_short_reboot(sqlite_world: SqliteWorld) -> None:
    """For its whole time once more."""
    acme = sqlite_world.begin(2)
    settle(sqlite_world.store, sqlite_world.sent(acme), queued(answered=True, closing=Closing()))
    reboot(sqlite_world, wall=30)
    gate = sqlite_world.store.organizations.bucket(acme).gate
    assert gate is not None
    assert gate.until == sqlite_world.store.now() + LIMIT.per


def test_waits_go_on_by_the_calendar_over_a_reboot(sqlite_world: SqliteWorld) -> None:
    """A backoff of an hour is half over when half an hour has passed."""
    acme = sqlite_world.begin(1)
    settle(sqlite_world.store, sqlite_world.sent(acme), queued(retry_in=HOUR))
    reboot(sqlite_world, wall=HOUR / 2)
    assert sqlite_world.wait(acme).until == sqlite_world.store.now() + HOUR / 2
    sqlite_world.advance(HOUR / 2)
    assert sqlite_world.lease(acme).first_sent_at == sqlite_world.store.now() - HOUR


def test_the_wait_for_evidence_begins_anew_after_a_reboot(sqlite_world: SqliteWorld) -> None:
    """No calendar is believed about when a request can no longer be carried out."""
    acme = sqlite_world.begin(1)
    settle(sqlite_world.store, sqlite_world.sent(acme), UNCERTAIN)
    reboot(sqlite_world, wall=HOUR)
    assert sqlite_world.store.uncertain.due("r1") == []
    sqlite_world.advance(TIMEOUT + LIMIT.grace)
    assert len(sqlite_world.store.uncertain.due("r1")) == 1


def test_leases_are_recovered_after_a_reboot(sqlite_world: SqliteWorld) -> None:
    """Every process of another boot is dead."""
    acme = sqlite_world.begin(2)
    sqlite_world.sent(acme)
    sqlite_world.lease(acme)
    reboot(sqlite_world, wall=60)
    assert sqlite_world.store.queue.recover() == 2
    assert sqlite_world.store.views.run("r1").total == Counts(uncertain=1, queued=1)


def test_a_boot_clock_of_another_time_namespace_is_another_one() -> None:
    """Containers may have boot clocks of their own under one id of the boot."""
    namespace = Path("/proc/self/ns/time")
    if not namespace.is_symlink():
        pytest.skip("this kernel has no time namespaces")
    assert str(namespace.readlink()) in SystemClock().boot_id()


def elsewhere(world: SqliteWorld) -> VirtualClock:
    """The clock of another time namespace of the same machine."""
    return VirtualClock(wall=world.clock.wall(), boot=world.clock.boot() + 5000.0, boot_id="elsewhere")


def test_a_store_in_use_by_another_boot_clock_is_refused(sqlite_world: SqliteWorld) -> None:
    """Each would take the other's work for that of before a reboot; the one at work goes on as if nothing had been."""
    acme = sqlite_world.begin(12)
    sqlite_world.make(acme)
    before = sqlite_world.store.organizations.bucket(acme)
    with pytest.raises(
        StoreUnusable, match=rf"process {os.getpid()} of .* with a different boot clock; .*one time namespace"
    ):
        open_store(sqlite_world.url, clock=elsewhere(sqlite_world))
    assert sqlite_world.store.organizations.bucket(acme) == before
    for _ in range(4):
        sqlite_world.make(acme)
    sqlite_world.crash(sqlite_world.store)
    later = open_store(sqlite_world.url, clock=elsewhere(sqlite_world))
    assert {token.returns_at for token in later.organizations.bucket(acme).tokens} == {
        later.now() + LIMIT.hold
    }
    later.close()


def test_of_two_boot_clocks_the_first_at_work_goes_on(sqlite_world: SqliteWorld) -> None:
    """Both had opened the store before either sent anything; the other one can go on when the first has ended."""
    late = open_store(sqlite_world.url, clock=elsewhere(sqlite_world))
    acme = sqlite_world.begin(12)
    for change in (
        lambda: late.organizations.join(BASE_URL, "x", None),
        lambda: late.queue.serve("r1", [acme]),
    ):
        with pytest.raises(StoreUnusable, match="a different boot clock"):
            change()
        sqlite_world.make(acme)
    sqlite_world.end(sqlite_world.store)
    late.queue.serve("r1", [acme])
    assert late.views.run("r1").processes == 1
    late.close()


def test_a_lock_that_may_not_be_looked_at_is_no_other_boot_clock(
    sqlite_world: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be left from before a reboot, by another user: that must not close the store for ever."""
    acme = sqlite_world.begin(1)
    with sqlite_world.store._database.write() as tx:
        owner = str(tx.rows(sql.OWNERS)[0]["id"])
    really = os.open

    def opened(path: object, *how: Any, **more: Any) -> int:
        if str(path).endswith(owner):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return really(path, *how, **more)  # type: ignore[arg-type] # as it came

    monkeypatch.setattr(os, "open", opened)
    later = open_store(sqlite_world.url, clock=elsewhere(sqlite_world))
    assert later.organizations.present_identity(acme) == acme
    later.close()


# -- the file ----------------------------------------------------------------------------------------------


def test_nobody_else_may_read_the_store(tmp_path: Path) -> None:
    """Links are capabilities: files are 0600, folders 0700."""
    path = tmp_path / "new" / "store.db"
    store = open_store(str(path), clock=VirtualClock())
    store.queue.serve("r1", [])
    names = [path.parent, path, *path.parent.glob("store.db-*"), path.with_name("store.db.owners")]
    assert {oct(name.stat().st_mode & 0o077) for name in names} == {"0o0"}
    assert store.describe() == f"sqlite:///{path}"
    store.close()
    beside = path.with_name("store.db.owners")
    assert {file.name for file in beside.iterdir()} == {"opening", "shared", "next", "turn"}


def test_every_commit_is_synced(sqlite_world: SqliteWorld) -> None:
    """What was said to be stored survives a power cut."""
    database = sqlite_world.store._database
    assert isinstance(database, sqlite_store.SqliteDatabase)
    assert database._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to have a header" * 99, b"SQLite format 3\0" + b"x" * 9000]
)
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    """Another kind of file, and a damaged one."""
    path = tmp_path / "store.db"
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match=str(path)):
        open_store(str(path), clock=VirtualClock())
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """In words, with the path."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnusable, match="name a file in a folder that may be written"):
        open_store(str(tmp_path / "file" / "store.db"), clock=VirtualClock())


def test_a_full_disk_is_waited_for(sqlite_world: SqliteWorld) -> None:
    """Nothing is sent meanwhile; when there is room again the store goes on."""
    acme = sqlite_world.begin(1)
    database = sqlite_world.store._database
    assert isinstance(database, sqlite_store.SqliteDatabase)
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        sqlite_world.begin(2000, run="big")
    assert [view.run.id for view in sqlite_world.store.history.runs()] == ["r1"]
    database._connection.execute("PRAGMA max_page_count = 1000000")
    sqlite_world.lease(acme)


def test_a_store_locked_for_long_is_waited_for(sqlite_world: SqliteWorld) -> None:
    """Another process that hangs in a transaction is named as the cause."""
    other = sqlite3.connect(sqlite_world.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    database = sqlite_world.store._database
    assert isinstance(database, sqlite_store.SqliteDatabase)
    database._connection.execute("PRAGMA busy_timeout = 1")
    with pytest.raises(StoreUnavailable, match="another process has kept it locked"):
        sqlite_world.begin(1)
    other.close()
    sqlite_world.begin(1)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    """SQLite's locks cannot be relied on there."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {tmp_path}/my\\040share {kind} rw 0 0\n")
    refuse_network(tmp_path / "local" / "store.db", mounts)
    with pytest.raises(
        StoreUnusable, match=rf"{tmp_path}/my share is a network file system \({kind}\).*PostgreSQL"
    ):
        refuse_network(tmp_path / "my share" / "deep" / "store.db", mounts)


@pytest.mark.parametrize("url", ["sqlite:relative.db", "sqlite:///relative.db", "mysql://host/db", ""])
def test_an_unknown_kind_of_store_is_refused(url: str) -> None:
    """With the two that there are."""
    with pytest.raises(UsageError, match="sqlite:////absolute/path"):
        open_store(url, clock=VirtualClock())


# -- reading only ------------------------------------------------------------------------------------------


def test_reading_only_sees_everything_and_writes_nothing(sqlite_world: SqliteWorld) -> None:
    """While the run goes on."""
    acme = sqlite_world.begin(3)
    sqlite_world.make(acme)
    reader = open_store(sqlite_world.url, clock=sqlite_world.clock, read_only=True)
    assert reader.views.run("r1").total == Counts(created=1, queued=2)
    assert reader.views.run("r1").processes == 1
    assert len(list(reader.views.results("r1"))) == 3
    with pytest.raises(StoreUnusable, match="it cannot be written"):
        reader.runs.end("r1", RunState.FINISHED)
    reader.close()


def looked_at(store: Store, identity: str) -> tuple[object, ...]:
    """What a look shows of times."""
    return (
        store.organizations.bucket(identity),
        list(store.views.results("r1")),
        list(store.views.results("lost")),
    )


def test_a_look_after_a_reboot_shows_what_the_next_run_will_find(sqlite_world: SqliteWorld) -> None:
    """Though nothing has been run since; it writes nothing, and still sees who lives."""
    world = sqlite_world
    world.advance(2_000_000.0)  # 23 days after the boot
    acme = world.begin(12)
    for _ in range(3):
        world.make(acme)
    world.store.runs.start(Run(id="lost", job="lost"), [task(50, acme)])
    settle(world.store, world.sent(acme, "lost"), UNCERTAIN)
    settle(world.store, world.sent(acme), queued(answered=True, closing=Closing()))
    world.crash(world.store)
    world.clock.set_wall(world.clock.wall() + 60)
    world.clock.reboot("another boot", 20.0)
    before = world.path.read_bytes()
    look = open_store(world.url, clock=world.clock, read_only=True)
    shown = looked_at(look, acme)
    assert {token.returns_at - look.now() for token in look.organizations.bucket(acme).tokens} == {
        LIMIT.hold,
        UNANSWERED,
    }
    assert look.views.run("r1").processes == 0
    with pytest.raises(StoreUnusable, match="it cannot be written"):
        look.runs.end("r1", RunState.FINISHED)
    look.close()
    assert world.path.read_bytes() == before
    world.store = world.open()
    assert looked_at(world.store, acme) == shown


def test_a_look_by_another_boot_clock_disturbs_nobody(sqlite_world: SqliteWorld) -> None:
    """From another time namespace what is under way is shown as well as it can be."""
    acme = sqlite_world.begin(12)
    sqlite_world.make(acme)
    look = open_store(sqlite_world.url, clock=elsewhere(sqlite_world), read_only=True)
    assert [token.returns_at for token in look.organizations.bucket(acme).tokens] == [look.now() + LIMIT.hold]
    assert look.views.run("r1").total == Counts(created=1, queued=11)
    assert look.views.run("r1").processes == 1
    look.close()
    sqlite_world.make(acme)


def test_a_store_in_a_read_only_folder_can_be_read(sqlite_world: SqliteWorld, tmp_path: Path) -> None:
    """A copy, or a volume mounted for reading: without a log there is nothing to share."""
    sqlite_world.begin(3)
    sqlite_world.crash(sqlite_world.store)
    folder = tmp_path / "frozen"
    folder.mkdir()
    shutil.copy(sqlite_world.path, folder)
    folder.chmod(0o500)
    uri = sqlite_store._mode(folder / "store.db", read_only=True)
    if os.access(folder, os.W_OK):
        assert uri == "mode=ro"  # root may write everywhere
    else:
        assert uri == "mode=ro&immutable=1"
    reader = open_store(str(folder / "store.db"), clock=VirtualClock(), read_only=True)
    assert reader.views.run("r1").total == Counts(queued=3)
    reader.close()
    folder.chmod(0o700)


def test_there_is_nothing_to_read_before_the_first_run(tmp_path: Path) -> None:
    """And nothing is made."""
    with pytest.raises(StoreUnusable, match="there is no store"):
        open_store(str(tmp_path / "store.db"), clock=VirtualClock(), read_only=True)
    assert list(tmp_path.iterdir()) == []


# -- size --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "EARLIEST",
        "NEXT_TASKS",
        "RELEASE",
        "LATEST_TASKS",
        "EVIDENCE_DUE",
        "RESULTS",
        "SETTLED_POSITIONS",
        "LEFT",
        "SEARCHES",
        "LEASED_TASK",
    ],
)
def test_what_is_asked_often_seeks_and_does_not_scan(sqlite_world: SqliteWorld, name: str) -> None:
    """However many tasks wait, and for whatever."""
    connection = sqlite3.connect(sqlite_world.path)
    statement = sqlite_store.in_sqlite(getattr(sql, name))
    values = dict.fromkeys(re.findall(r":([a-z_]+)", statement), "[]")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    connection.close()
    scanned = [line for line in plan if line.startswith("SCAN ")]
    assert [
        line for line in scanned if not line.startswith(("SCAN c", "SCAN 15 CONSTANT", "SCAN json_each"))
    ] == []
    if name in {"EARLIEST", "NEXT_TASKS", "RELEASE"}:
        seek = "run_task_turn (run=? AND organization=? AND phase=?"
        assert any((seek if name == "NEXT_TASKS" else f"{seek} AND priority=?") in line for line in plan)
        assert not [line for line in plan if "TEMP B-TREE" in line]


def test_the_limit_of_another_run_does_not_take_tokens_away(sqlite_world: SqliteWorld) -> None:
    """A run that believes in ten slots uses numbers that others do not look at."""
    acme = sqlite_world.begin(12)
    ten = Limit(snapshots=10, use=10)
    assert [sqlite_world.lease(acme, limit=ten).token for _ in range(7)] == [1, 2, 3, 4, 5, 6, 7]
    sqlite_world.wait(acme)


@pytest.mark.process
def test_a_store_is_opened_by_one_process_after_the_other(tmp_path: Path) -> None:
    """SQLite does not wait when its journal's mode is set, so that two that open a new store would get in each other's way."""
    path = tmp_path / "store.db"
    opened = threading.Event()

    def open_it() -> None:
        open_store(str(path), clock=VirtualClock()).close()
        opened.set()

    other = threading.Thread(target=open_it)
    with Owners(path).lock_opening("opens it"):
        other.start()
        assert not opened.wait(0.2)
    other.join(120)
    assert opened.is_set()


def test_every_error_of_sqlite_is_trouble_of_the_store() -> None:
    """Whatever its code, and without one: it may pass, or it is to be put right; it is never shown as a traceback."""
    codes = {
        value
        for name, value in vars(sqlite3).items()
        if name.startswith("SQLITE_") and isinstance(value, int)
    }
    for kind in (sqlite3.OperationalError, sqlite3.DatabaseError, sqlite3.ProgrammingError):
        for code in (None, *codes):
            error = kind("boom")
            if code is not None:
                error.sqlite_errorcode = code
            with pytest.raises(StoreTrouble, match=r"sqlite:////x: .*boom"):
                sqlite_store.explain(error, "sqlite:////x")
