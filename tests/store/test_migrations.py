"""Stores of older versions are brought forward, with everything that is in them.

These tests patch the list of migrations on purpose: that is what an older program was, and a newer one will be.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orchestrator.core.clock import Clock
from orchestrator.core.errors import StoreUnavailable, StoreUnusable
from orchestrator.core.jobs import identity
from orchestrator.core.tasks import Counts, Reason, Status
from orchestrator.ratelimit.bucket import Wait
from orchestrator.store import schema
from orchestrator.store import sqlite as sqlite_store
from orchestrator.store.backup import back_up, restore
from orchestrator.store.database import Transaction
from orchestrator.store.history import KEPT
from orchestrator.store.locks import Owners
from orchestrator.store.pruning import Forgotten
from orchestrator.store.sqlite import SqliteTransaction
from orchestrator.store.store import open_store
from tests.store.test_pruning import DAY, SAVED, SHARED, prune, run_job
from tests.store.world import BASE_URL, LIMIT, TIMEOUT, PostgresWorld, SqliteWorld, World, created, task
from tests.support.clock import VirtualClock
from tests.support.commands import ran
from tests.support.single import settle

OLDER = range(1, schema.VERSION)


def version_of(tx: Transaction) -> int:
    return schema.check(tx.row(schema.READ), "here")


def written_long_ago(tx: Transaction) -> str:
    """A run of three tasks and five tokens that are out, in the words of the older version; its identity.

    Not by the program's own statements, which are those of the present version.
    """
    acme = identity(BASE_URL, name="acme")
    now, wall = tx.now(), tx.epoch()
    tx.change("INSERT INTO organization (identity, name) VALUES (:acme, 'acme')", acme=acme)
    tx.change("INSERT INTO identity (identity, organization) VALUES (:acme, 1)", acme=acme)
    tx.change(
        "INSERT INTO run (id, job, files, created_at, state, tasks) VALUES ('r1', 'nightly', '[]', :now, 'active', 3)",
        now=now,
    )
    tx.change("INSERT INTO run_organization (run, organization) VALUES ('r1', 1)")
    for number in range(3):
        tx.change(
            """INSERT INTO task (key, base_key, generation, organization, account_group, test_id, window_start,
                window_end, is_public, display_name, ready_at, status)
            VALUES (:key, :key, 0, 1, '1', :test, 0, 3600, 0, 'x [{key}]', 0, 'queued')""",
            key=task(number, acme).key,
            test=str(number),
        )
        tx.change(
            """INSERT INTO run_task (run, position, task, organization, priority, kind, phase, until, job_name,
                on_uncertain) VALUES ('r1', :number, :task, 1, 1, '1/0', 0, 0, 'checkout', 'hold')""",
            number=number,
            task=number + 1,
        )
    owns = "organization"
    if version_of(tx) >= 5:  # from there on a bucket is a thing of its own
        owns = "bucket"
        tx.change("INSERT INTO bucket (founder) VALUES (1)")
        tx.change("UPDATE organization SET bucket = 1")
    for number in range(1, 6):
        tx.change(
            f"""INSERT INTO token ({owns}, number, returns_at, written_at, written_wall, full_hold)
            VALUES (1, :number, :returns_at, :now, :wall, :hold)""",  # noqa: S608 - one of two names
            number=number,
            returns_at=now + 100,
            now=now,
            wall=wall,
            hold=LIMIT.hold,
        )
    return acme


ENDS = [
    ("created", "ended", 1),
    ("created", "another", 1),
    ("failed", "ended", 1),
    ("failed", None, 0),
    ("uncertain", "ended", 1),
]
"""The state of each task of a run that has ended, the run that attempted it, and how often it did."""


def ended_long_ago(tx: Transaction) -> None:
    """A run that has ended, beside the one that is there."""
    tx.change(
        "INSERT INTO run (id, job, files, created_at, state, tasks) VALUES ('ended', 'nightly', '[]', 1, 'finished', 5)"
    )
    for number, (status, attempted_by, tries) in enumerate(ENDS, start=4):
        tx.change(
            """INSERT INTO task (key, base_key, generation, organization, account_group, test_id, window_start,
                window_end, is_public, display_name, ready_at, status, lease_run, tries, settled_at)
            VALUES (:key, :key, 0, 1, '1', '1', 0, 3600, 0, 'x', 0, :status, :run, :tries, 1)""",
            key=f"key-{number}",
            status=status,
            run=attempted_by,
            tries=tries,
        )
        tx.change(
            """INSERT INTO run_task (run, position, task, organization, priority, kind, phase, until, job_name,
                on_uncertain) VALUES ('ended', :number, :number, 1, 1, '1/0', 4, 1, 'checkout', 'hold')""",
            number=number,
        )


@contextmanager
def program_of(older: int) -> Iterator[None]:
    """Be a program of an older version."""
    with pytest.MonkeyPatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:older])
        before.setattr(schema, "VERSION", older)
        yield


@contextmanager
def older_file(path: Path, clock: Clock, older: int) -> Iterator[sqlite3.Connection]:
    """A file of an older version, as the program of then has it open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        tx = SqliteTransaction(connection, clock, Owners(path))
        with program_of(1):
            schema.migrate(tx, str(path), sqlite_store.SERIAL)
        tx.remember_calendar()
        written_long_ago(tx)
        ended_long_ago(tx)
        with program_of(older):
            schema.migrate(tx, str(path), sqlite_store.SERIAL)
        connection.execute("COMMIT")
        yield connection


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def older_world(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], World]:
    """Open a store of each kind that a program of an older version has left."""

    def opened(older: int) -> World:
        if request.param == "sqlite":
            with older_file(tmp_path / "store.db", VirtualClock(), older):
                pass
            return SqliteWorld(tmp_path / "store.db")
        with program_of(1):
            world = PostgresWorld(request.getfixturevalue("postgres_url"))
            with world.store._database.write() as tx:
                written_long_ago(tx)
                ended_long_ago(tx)
            world.end(world.store)
        with program_of(older):
            world.end(world.open())
        world.store = world.open()
        return world

    return opened


@pytest.mark.parametrize("older", OLDER)
def test_an_older_store_is_brought_forward(older_world: Callable[[int], World], older: int) -> None:
    """Tasks still wait, tokens are still out until their time, and the work goes on."""
    world, acme = older_world(older), identity(BASE_URL, name="acme")
    world.store.queue.serve("r1", [acme])
    with world.store._database.read() as tx:
        assert version_of(tx) == schema.VERSION
    assert world.states() == [Status.QUEUED] * 3
    assert world.wait(acme) == Wait(until=world.store.now() + 100, reason=Reason.OWN_QUOTA)
    assert {result.task.organization_name for result in world.store.views.results("r1")} == {"acme"}
    assert world.store.views.run("r1").names == {acme: "acme"}
    world.advance(100)
    for _ in range(3):
        world.make(acme)
    assert world.states() == [Status.CREATED] * 3
    world.close()


@pytest.mark.parametrize("older", OLDER)
def test_the_counts_of_runs_that_have_ended_are_kept_from_then_on(
    older_world: Callable[[int], World], older: int
) -> None:
    """They are counted once, when the store is brought forward; of what goes on nothing is kept."""
    world = older_world(older)
    with world.store._database.read() as tx:
        kept = tx.rows("SELECT id, created, existing, failed, refused, uncertain FROM run ORDER BY id")
    assert kept[0] == {"id": "ended", "created": 1, "existing": 1, "failed": 2, "refused": 1, "uncertain": 1}
    assert kept[1] == {"id": "r1", **dict.fromkeys(KEPT)}
    for one in world.store.history.runs():
        assert one.total == world.store.views.run(one.run.id).total
    world.close()


LOOKS = ("status last", "runs", "list", "report last")


@pytest.mark.parametrize("rebooted", [False, True])
@pytest.mark.parametrize("older", OLDER)
def test_an_older_store_can_be_looked_at(tmp_path: Path, older: int, *, rebooted: bool) -> None:
    """By every command that looks, as it was: the older program at work on it is not disturbed."""
    clock, acme, path = VirtualClock(), identity(BASE_URL, name="acme"), tmp_path / "store.db"
    with older_file(path, clock, older) as program:
        if rebooted:
            clock.reboot("another boot", 20.0)
        with closing(open_store(str(path), clock=clock, read_only=True)) as look:
            assert {token.returns_at for token in look.organizations.bucket(acme).tokens} == {
                look.now() + (LIMIT.hold if rebooted else 100)
            }
        assert program.execute("SELECT version FROM meta").fetchone() == (older,)
        for command in LOOKS:
            done = ran(*command.split(), "--store", str(path))
            assert (done.code, done.stderr) == (0, "")
        assert program.execute("UPDATE meta SET last_wall = last_wall").rowcount == 1


@pytest.mark.postgres
@pytest.mark.parametrize("older", OLDER)
def test_what_looks_at_an_older_store_in_postgresql_is_told_what_to_do(postgres_url: str, older: int) -> None:
    """To bring it forward is for who runs something: it would shut out the older programs of everybody else."""
    with program_of(older):
        world = PostgresWorld(postgres_url)
    words = f"version {older}, made by an older tesnap; .* `tesnap run` or `tesnap resume` .* brings it up to date"
    with pytest.raises(StoreUnusable, match=words):
        open_store(world.url, clock=world.clock, read_only=True)
    done = ran("status", "--store", world.url)
    assert (done.code, done.stdout) == (2, "")
    assert "brings it up to date" in done.stderr
    world.open()
    open_store(world.url, clock=world.clock, read_only=True).close()
    world.close()


REGISTER = "INSERT INTO owner (id, host, pid, started) VALUES (:owner, 'node-7', 4711, 0)"

AT_WORK = "process 4711 of node-7 runs an older tesnap and still uses this store"


@pytest.mark.parametrize("older", OLDER)
def test_a_store_is_not_brought_forward_under_an_older_process_at_work(tmp_path: Path, older: int) -> None:
    """It could not go on, and what it has on the wire would be uncertain. Dead, it is in nobody's way."""
    clock, path, owners = VirtualClock(), tmp_path / "store.db", Owners(tmp_path / "store.db")
    with older_file(path, clock, older) as program:
        SqliteTransaction(program, clock, owners).change(REGISTER, owner=owners.claim().owner)
        with pytest.raises(StoreUnavailable, match=AT_WORK):
            open_store(str(path), clock=clock)
        assert program.execute("SELECT version FROM meta").fetchone() == (older,)
        open_store(str(path), clock=clock, read_only=True).close()
    owners.close()
    open_store(str(path), clock=clock).close()


@pytest.mark.postgres
@pytest.mark.parametrize("older", OLDER)
def test_nor_in_postgresql(postgres_url: str, older: int) -> None:
    """There the older process holds its lock in its session."""
    with program_of(older):
        world = PostgresWorld(postgres_url)
    owner = world.store._database.claim().owner
    with world.store._database.write() as tx:
        tx.change(REGISTER, owner=owner)
    with pytest.raises(StoreUnavailable, match=AT_WORK):
        world.open()
    world.end(world.store)
    world.store = world.open()
    world.close()


def test_there_is_an_older_version_to_test() -> None:
    """The list of versions is not empty by mistake."""
    assert len(OLDER) == schema.VERSION - 1 >= 1


RELEASED = {
    1: "4adcd54d75fc8ed3",
    2: "b65c572d6c12835a",
    3: "e5be2583de2a97b2",
    4: "cd6ca2315de5236e",
    5: "d176692908b68b4a",
    6: "5865caf052c33bb6",
}
"""The digests of the steps that are in stores already."""


def digest(step: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(step).encode()).hexdigest()[:16]


@pytest.mark.parametrize("number", RELEASED)
def test_a_step_that_was_released_is_never_changed(number: int) -> None:
    """A store that went through it would not be what the next step builds on; what is missing is a new step."""
    assert digest(schema.MIGRATIONS[number - 1]) == RELEASED[number]


@pytest.mark.parametrize("older", OLDER)
def test_a_backup_of_an_older_store_is_brought_forward_where_it_is_put_back(
    tmp_path: Path, older: int
) -> None:
    """It is taken as it is, under the older program at work; what is put back is a store of this version."""
    clock, acme, file = VirtualClock(), identity(BASE_URL, name="acme"), tmp_path / "copy.db"
    with older_file(tmp_path / "store.db", clock, older) as program:
        back_up(str(tmp_path / "store.db"), file, clock)
        assert program.execute("UPDATE meta SET last_wall = last_wall").rowcount == 1
    place = tmp_path / "back" / "store.db"
    restore(str(place), file, clock)
    with closing(open_store(str(place), clock=clock)) as store:
        assert store.views.run("r1").total.queued == 3
        assert store.views.run("r1").names == {acme: "acme"}
        assert store.views.loss() is not None


@pytest.mark.parametrize("older", OLDER)
def test_an_older_store_can_be_pruned_once_it_is_brought_forward(
    older_world: Callable[[int], World], older: int
) -> None:
    """What is over goes, the uncertain stays, and what is open is untouched."""
    world = older_world(older)
    with world.store._database.write() as tx:
        tx.change("UPDATE task SET settled_wall = 1 WHERE settled_at IS NOT NULL")
    before = world.store.epoch()
    assert [one.run.id for one in world.store.pruning.find_old(before)] == ["ended"]
    steps = world.store.pruning.forget("ended", before=before)
    assert sum(steps, Forgotten()) == Forgotten(tasks=4, kept=1)
    assert world.states() == [Status.QUEUED] * 3
    assert world.states("ended") == [Status.UNCERTAIN]
    world.close()


# -- stores of newer versions --------------------------------------------------------------------------------

TABLES = re.findall(
    r"CREATE TABLE (\w+)", "\n".join(statement for step in schema.MIGRATIONS for statement in step)
)

ADDING = (
    "CREATE TABLE later (text TEXT)",
    *(f"ALTER TABLE {name} ADD COLUMN later BIGINT NOT NULL DEFAULT 7" for name in (*TABLES, "meta")),
)
"""A step that only adds, wherever one can."""

CHANGING = ("ALTER TABLE task RENAME COLUMN test_name TO test_title", schema.SHUT_OUT)

NEWER = schema.VERSION + 1


@contextmanager
def newer_program(step: tuple[str, ...]) -> Iterator[None]:
    """Be a program of the next version."""
    with pytest.MonkeyPatch.context() as later:
        later.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
        later.setattr(schema, "VERSION", NEWER)
        yield


def make_newer(world: World, step: tuple[str, ...]) -> None:
    """Bring the store forward as the first run of the next version does."""
    with newer_program(step):
        world.end(world.open())


def test_processes_go_on_while_a_newer_one_adds_to_their_store(world: World) -> None:
    """With what is on the wire, and with all that they still have to do; the newer one finds it all."""
    acme = world.begin(5)
    lease = world.sent(acme)
    make_newer(world, ADDING)
    settle(world.store, lease, created(lease))
    world.make(acme)
    world.crash(world.store)
    world.store = world.open()
    world.store.queue.serve("r1", [acme])
    world.make(acme)
    assert world.store.organizations.join(BASE_URL, "acme", "77") != acme
    with newer_program(ADDING):
        newer = world.open()
        assert newer.views.run("r1").total == Counts(created=3, queued=2)
        with newer._database.read() as tx:
            assert version_of(tx) == NEWER
            assert {row["later"] for row in tx.rows("SELECT later FROM task")} == {7}


def test_a_store_that_was_added_to_can_be_looked_at_and_pruned(world: World) -> None:
    """By the program of before, which leaves the version as it is."""
    run_job(world, "old", {0: SAVED, 1: SHARED})
    world.advance(500 * DAY)
    run_job(world, "young", {2: SHARED})
    make_newer(world, ADDING)
    assert prune(world) == Forgotten(runs=1, tasks=2, stubs=1)
    for command in LOOKS:
        done = ran(*command.split(), "--store", world.url)
        assert (done.code, done.stderr) == (0, "")
    with world.store._database.read() as tx:
        assert version_of(tx) == NEWER


def test_a_store_that_was_added_to_is_backed_up_and_put_back_as_it_is(
    sqlite_world: SqliteWorld, tmp_path: Path
) -> None:
    """Also what this program knows nothing of."""
    world, copy, place = sqlite_world, tmp_path / "copy.db", tmp_path / "back" / "store.db"
    world.begin(3)
    make_newer(world, ADDING)
    back_up(world.url, copy, world.clock)
    restore(str(place), copy, world.clock)
    with closing(open_store(str(place), clock=world.clock)) as store:
        assert store.views.run("r1").total.queued == 3
        with store._database.read() as tx:
            assert tx.row("SELECT version, later FROM meta") == {"version": NEWER, "later": 7}


def test_a_newer_store_that_was_changed_is_refused(world: World) -> None:
    """By who runs, by who looks, and by who prunes it: exit code 2, with what to do; nothing is written."""
    make_newer(world, CHANGING)
    words = f"version {NEWER}, made by a newer tesnap, .* version {NEWER}; .* Install the newer tesnap, or name another store"
    for read_only in (False, True):
        with pytest.raises(StoreUnusable, match=words):
            open_store(world.url, clock=world.clock, read_only=read_only)
    for command in (("runs",), ("prune", "--yes")):
        done = ran(*command, "--store", world.url)
        assert (done.code, done.stdout) == (2, "")
        assert "Install the newer tesnap" in done.stderr
    with newer_program(CHANGING), world.store._database.read() as tx:
        assert version_of(tx) == NEWER


def test_a_step_that_changes_waits_for_the_processes_at_work(world: World) -> None:
    """They go on with the store as it is."""
    acme = world.begin(2)
    with (
        newer_program(CHANGING),
        pytest.raises(StoreUnavailable, match="runs an older tesnap and still uses"),
    ):
        world.open()
    world.make(acme)
    world.end(world.store)
    make_newer(world, CHANGING)


def test_a_process_that_opened_its_store_before_a_newer_one_changed_it_does_not_begin(world: World) -> None:
    """It had not registered: nobody could wait for it."""
    make_newer(world, CHANGING)
    with pytest.raises(StoreUnusable, match="Install the newer tesnap"):
        world.store.queue.register()
    with newer_program(CHANGING), world.store._database.read() as tx:
        assert tx.rows("SELECT * FROM owner") == []


@pytest.mark.postgres
@pytest.mark.process
def test_who_registers_while_the_store_is_brought_forward_waits_for_it(postgres_world: PostgresWorld) -> None:
    """Otherwise neither would know of the other."""
    world = postgres_world
    with ThreadPoolExecutor(1) as pool, world.open()._database.write() as tx:
        with newer_program(CHANGING):
            schema.migrate(tx, world.url, "BIGINT")
        registering = pool.submit(world.store.queue.register)
        with pytest.raises(TimeoutError):
            registering.result(0.3)
        tx.finish([])
    with pytest.raises(StoreUnusable, match="Install the newer tesnap"):
        registering.result(TIMEOUT)


ADDS = re.compile(
    r"CREATE TABLE |CREATE INDEX |ALTER TABLE \w+ ADD COLUMN (?!.*NOT NULL(?! DEFAULT))", re.IGNORECASE
)


def is_served(step: tuple[str, ...]) -> bool:
    """True if programs of before can go on in a store with this step, or are shut out by it."""
    return schema.SHUT_OUT in step or all(map(ADDS.match, step))


def test_a_step_only_adds_or_shuts_older_programs_out() -> None:
    """Each one since a store says whom it serves. If what is added may be missing is for who writes it to know."""
    assert all(map(is_served, schema.MIGRATIONS[8:]))
    assert is_served(ADDING)
    for statement in (
        CHANGING[0],
        "DROP INDEX a",
        "UPDATE a SET b = 1",
        "ALTER TABLE a ADD COLUMN b TEXT NOT NULL",
    ):
        assert not is_served((statement,))
