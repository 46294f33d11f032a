"""Stores of older versions are brought forward, with everything that is in them.

These tests patch the list of migrations on purpose: that is what an older program was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orchestrator.core.errors import StoreUnusable
from orchestrator.core.jobs import identity
from orchestrator.core.tasks import Reason, Status
from orchestrator.ratelimit.bucket import Wait
from orchestrator.store import schema
from orchestrator.store.store import open_store
from tests.store.world import BASE_URL, LIMIT, PostgresWorld, SqliteWorld, World, task
from tests.support.commands import ran

OLDER = range(1, schema.VERSION)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def make_world(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], World]:
    """Make an empty store of each kind, by whatever the program is at that moment."""

    def make() -> World:
        if request.param == "sqlite":
            return SqliteWorld(tmp_path / "store.db")
        return PostgresWorld(request.getfixturevalue("postgres_url"))

    return make


def written_long_ago(world: World) -> str:
    """A run of three tasks and five tokens that are out, in the words of the first version; its identity.

    Not by the program's own statements, which are those of the present version.
    """
    acme = identity(BASE_URL, name="acme")
    with world.store._database.write() as tx:
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
        for number in range(1, 6):
            tx.change(
                """INSERT INTO token (organization, number, returns_at, written_at, written_wall, full_hold)
                VALUES (1, :number, :returns_at, :now, :wall, :hold)""",
                number=number,
                returns_at=now + 100,
                now=now,
                wall=wall,
                hold=LIMIT.hold,
            )
    return acme


@contextmanager
def program_of(older: int) -> Iterator[None]:
    """Be a program of an older version."""
    with pytest.MonkeyPatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:older])
        before.setattr(schema, "VERSION", older)
        yield


@pytest.mark.parametrize("older", OLDER)
def test_an_older_store_is_brought_forward(make_world: Callable[[], World], older: int) -> None:
    """Tasks still wait, tokens are still out until their time, and the work goes on."""
    with program_of(older):
        world = make_world()
        acme = written_long_ago(world)
        world.end(world.store)
    world.store = world.open()
    world.store.queue.serve("r1", [acme])
    with world.store._database.read() as tx:
        assert schema.version(tx) == schema.VERSION
    assert world.states() == [Status.QUEUED] * 3
    assert world.wait(acme) == Wait(until=world.store.now() + 100, reason=Reason.OWN_QUOTA)
    assert {result.task.organization_name for result in world.store.views.results("r1")} == {"acme"}
    assert world.store.views.run("r1").names == {acme: "acme"}
    world.advance(100)
    for _ in range(3):
        world.make(acme)
    assert world.states() == [Status.CREATED] * 3
    world.close()


@pytest.mark.parametrize("rebooted", [False, True])
@pytest.mark.parametrize("older", OLDER)
def test_an_older_store_can_be_looked_at(tmp_path: Path, older: int, *, rebooted: bool) -> None:
    """By every command that looks, as it was: the older program at work on it is not disturbed."""
    with program_of(older):
        world = SqliteWorld(tmp_path / "store.db")
        acme = written_long_ago(world)
    if rebooted:
        world.clock.reboot("another boot", 20.0)
    with closing(open_store(world.url, clock=world.clock, read_only=True)) as look:
        assert {token.returns_at for token in look.organizations.bucket(acme).tokens} == {
            look.now() + (LIMIT.hold if rebooted else 100)
        }
        with world.store._database.read() as tx:
            assert schema.version(tx) == older
    for command in ("status", "runs", "list", "report"):
        done = ran(command, "--store", world.url)
        assert (done.code, done.stderr) == (0, "")
    world.close()
    if rebooted:
        return  # to put the times on another boot clock takes statements that this test's older program does not have
    with program_of(older):
        open_store(world.url, clock=world.clock).close()


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


def test_there_is_an_older_version_to_test() -> None:
    """The list of versions is not empty by mistake."""
    assert len(OLDER) == schema.VERSION - 1 >= 1
