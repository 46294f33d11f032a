"""Stores of older versions are brought forward, with everything that is in them.

These tests patch the list of migrations on purpose: that is what an older program was.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.bucket import Wait
from orchestrator.model import Reason, Run, Status
from orchestrator.stores import schema
from orchestrator.stores import statements as sql
from tests.contract.world import BASE_URL, LIMIT, PostgresWorld, SqliteWorld, World

OLDER = range(1, schema.VERSION)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def make_world(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], World]:
    """Make an empty store of each kind, by whatever the program is at that moment."""

    def make() -> World:
        if request.param == "sqlite":
            return SqliteWorld(tmp_path / "store.db")
        return PostgresWorld(request.getfixturevalue("postgres_url"))

    return make


@pytest.mark.parametrize("older", OLDER)
def test_an_older_store_is_brought_forward(
    make_world: Callable[[], World], monkeypatch: pytest.MonkeyPatch, older: int
) -> None:
    """Tasks still wait, tokens are still out until their time, and the work goes on."""
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:older])
        before.setattr(schema, "VERSION", older)
        world = make_world()
        identity = world.store.join(BASE_URL, "acme", None)
        world.store.start_run(Run(id="r1", job="nightly"), world.tasks(3, identity))
        with world.store._database.write() as tx:
            now = tx.now()
            out = {
                "returns_at": now + 100,
                "written_at": now,
                "written_wall": tx.epoch(),
                "full_hold": LIMIT.hold,
            }
            for number in range(1, 6):
                tx.change(sql.WRITE_RETURN, organization=1, number=number, **out, task=None, attempt=None)
        world.end(world.store)
    world.store = world.open()
    world.store.serve("r1", [identity])
    with world.store._database.read() as tx:
        assert schema.version(tx) == schema.VERSION
    assert world.states() == [Status.QUEUED] * 3
    assert world.wait(identity) == Wait(until=world.store.now() + 100, reason=Reason.OWN_QUOTA)
    world.advance(100)
    for _ in range(3):
        world.make(identity)
    assert world.states() == [Status.CREATED] * 3
    world.close()


def test_there_is_an_older_version_to_test() -> None:
    """The list of versions is not empty by mistake."""
    assert len(OLDER) == schema.VERSION - 1 >= 1
