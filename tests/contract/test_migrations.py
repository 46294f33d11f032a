"""Stores of older versions are brought forward, with everything that is in them.

These tests patch the list of migrations on purpose: that is what an older program was.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.bucket import Wait
from orchestrator.model import Reason, Status, identity
from orchestrator.stores import schema
from tests.contract.world import BASE_URL, LIMIT, PostgresWorld, SqliteWorld, World, task

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


@pytest.mark.parametrize("older", OLDER)
def test_an_older_store_is_brought_forward(
    make_world: Callable[[], World], monkeypatch: pytest.MonkeyPatch, older: int
) -> None:
    """Tasks still wait, tokens are still out until their time, and the work goes on."""
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:older])
        before.setattr(schema, "VERSION", older)
        world = make_world()
        acme = written_long_ago(world)
        world.end(world.store)
    world.store = world.open()
    world.store.serve("r1", [acme])
    with world.store._database.read() as tx:
        assert schema.version(tx) == schema.VERSION
    assert world.states() == [Status.QUEUED] * 3
    assert world.wait(acme) == Wait(until=world.store.now() + 100, reason=Reason.OWN_QUOTA)
    assert {result.task.organization_name for result in world.store.results("r1")} == {"acme"}
    assert world.store.view("r1").names == {acme: "acme"}
    world.advance(100)
    for _ in range(3):
        world.make(acme)
    assert world.states() == [Status.CREATED] * 3
    world.close()


def test_there_is_an_older_version_to_test() -> None:
    """The list of versions is not empty by mistake."""
    assert len(OLDER) == schema.VERSION - 1 >= 1
