"""What only the PostgreSQL store has: a server that can be lost, and come back."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import StoreUnavailable, StoreUnusable, UsageError
from orchestrator.core.tasks import Counts, RunState
from orchestrator.store import sql
from orchestrator.store.database import Row
from orchestrator.store.postgres import NOTICING, PostgresDatabase
from orchestrator.store.store import open_store
from tests.store.world import PostgresWorld, created
from tests.support.single import settle

pytestmark = pytest.mark.postgres

SECRET = "hunter2"


def test_a_lost_connection_is_made_anew(postgres_world: PostgresWorld) -> None:
    """One call fails, the next one works."""
    postgres_world.begin(2)
    postgres_world.cut()
    with pytest.raises(
        StoreUnavailable, match=r"postgresql://127\.0\.0\.1:\d+/tesnap_tests: .*can be reached"
    ):
        postgres_world.store.views.run("r1")
    assert postgres_world.store.views.run("r1").total == Counts(queued=2)


def test_a_process_that_comes_back_in_time_keeps_its_leases(postgres_world: PostgresWorld) -> None:
    """It takes its own lock again before anybody else looks."""
    world = postgres_world
    acme = world.begin(1)
    lease = world.sent(acme)
    other = world.open()
    world.cut()
    with pytest.raises(StoreUnavailable):
        world.store.now()
    world.store.now()
    with pytest.raises(StoreUnavailable):
        other.now()
    assert other.queue.recover() == 0
    settle(world.store, lease, created(lease))
    assert world.store.views.run("r1").total == Counts(created=1)


def test_a_process_that_comes_back_late_has_lost_its_leases(postgres_world: PostgresWorld) -> None:
    """It goes on under the id of a living owner."""
    world = postgres_world
    acme = world.begin(2)
    world.sent(acme)
    other = world.open()
    world.cut()
    with pytest.raises(StoreUnavailable):
        other.now()
    assert other.queue.recover() == 1
    with pytest.raises(StoreUnavailable):
        world.store.now()
    world.lease(acme)
    assert world.store.views.run("r1").total == Counts(uncertain=1, leased=1)
    assert other.queue.recover() == 0


def test_a_process_that_comes_back_under_another_name_keeps_its_leases(
    postgres_world: PostgresWorld,
) -> None:
    """The server still has the old session when the new one begins; later that is gone, and nobody looked meanwhile."""
    world = postgres_world
    acme = world.begin(3)
    sent, unheard = world.sent(acme), world.lease(acme)
    world.store.queue._known.discard((unheard.task.key, unheard.attempt))
    database = world.store._database
    assert isinstance(database, PostgresDatabase)
    old, database._open = database._open, None
    held = world.lease(acme)
    assert held.owner != sent.owner
    assert world.store.queue.recover() == 1
    assert old is not None
    old.close()
    world.gone()
    assert world.store.queue.recover() == 0
    assert world.store.views.run("r1").total == Counts(queued=1, leased=1, sending=1)
    settle(world.store, sent, created(sent))
    world.store.queue.recover()
    assert [row["id"] for row in owners(world)] == [held.owner]


def owners(world: PostgresWorld) -> list[Row]:
    with world.store._database.read() as tx:
        return tx.rows(sql.OWNERS)


def test_a_grant_whose_commit_was_not_confirmed_is_taken_back(postgres_world: PostgresWorld) -> None:
    """Nobody knows of it, so nothing was sent: the task is queued again, by its own process."""
    world = postgres_world
    acme = world.begin(1)
    lease = world.lease(acme)
    world.store.queue._known.clear()
    assert world.store.queue.recover() == 1
    assert world.lease(acme).attempt > lease.attempt


def test_the_server_notices_within_half_a_minute_that_a_machine_is_gone(
    postgres_world: PostgresWorld,
) -> None:
    """Until then it keeps the process's lock; what is shown is read from the session's own socket."""
    with postgres_world.store._database.read() as tx:
        found = {name: tx.row(f"SHOW {name}") for name in NOTICING}
    assert found == {name: {name: str(value)} for name, value in NOTICING.items()}
    idle, interval, count, _ = NOTICING.values()
    assert idle + interval * count <= 30


def test_a_newer_version_that_changes_the_tables_is_waited_for(postgres_world: PostgresWorld) -> None:
    """What was prepared for the old tables fails once; the next try prepares it anew."""
    world = postgres_world
    acme = world.begin(12)
    for _ in range(4):
        world.make(acme)
    world.advance(1000)
    for _ in range(4):
        world.make(acme)  # so often that the driver prepares it
    world._side.execute("ALTER TABLE tesnap.organization ADD COLUMN of_a_newer_version TEXT")
    world._side.execute("ALTER TABLE tesnap.task ADD COLUMN of_a_newer_version TEXT")
    with pytest.raises(StoreUnavailable, match="cached plan"):
        world.lease(acme)
    world.make(acme)
    assert world.store.views.run("r1").total == Counts(created=9, queued=3)


def test_a_process_that_stood_still_in_a_transaction_goes_on(postgres_world: PostgresWorld) -> None:
    """The server has ended its session, so that others did not have to wait for it."""
    world = postgres_world
    acme = world.begin(2)
    with pytest.raises(StoreUnavailable, match=r"idle-in-transaction|closed the connection"):
        standing_still(world)
    assert world.lease(acme).attempt == 1


def standing_still(world: PostgresWorld) -> None:
    """Do nothing in a transaction until the server has had enough of it."""
    with world.store._database.write() as tx:
        tx.change("SET LOCAL idle_in_transaction_session_timeout TO '10ms'")
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tesnap'"
        while world._side.execute(sessions).fetchone() != (0,):
            pass
        tx.now()


def test_errors_never_show_the_password(postgres_world: PostgresWorld) -> None:
    """Neither in the place nor in the words."""
    url = f"postgresql://nobody:{SECRET}@127.0.0.1:1/none"
    with pytest.raises(StoreUnavailable) as caught:
        open_store(url, clock=postgres_world.clock)
    assert "postgresql://127.0.0.1:1/none" in str(caught.value)
    assert SECRET not in repr(caught.value)
    with pytest.raises(UsageError) as usage:
        open_store(f"postgresql://nobody:{SECRET}@host:port:/?what=1", clock=postgres_world.clock)
    assert SECRET not in str(usage.value)


@pytest.mark.parametrize("option", ["connect_timeout=soon", "sslmode=maybe", "target_session_attrs=any-way"])
def test_an_option_that_cannot_be_is_a_mistake(option: str, postgres_world: PostgresWorld) -> None:
    """In the address, so no waiting puts it right; its value is not shown, as it may be a password in the wrong place."""
    name, _, value = option.partition("=")
    with pytest.raises(UsageError, match=f"its option {name} has a value") as caught:
        open_store(f"{postgres_world.url}?{option}", clock=postgres_world.clock)
    assert value not in str(caught.value)


def test_a_database_that_does_not_exist_is_a_mistake(postgres_world: PostgresWorld) -> None:
    """Waiting would not help."""
    with pytest.raises(StoreUnusable, match='database "nowhere" does not exist'):
        open_store(postgres_world.url.replace("tesnap_tests", "nowhere"), clock=postgres_world.clock)


def test_reading_only_writes_nothing(postgres_world: PostgresWorld) -> None:
    """And needs a store that exists."""
    postgres_world.begin(2)
    reader = open_store(postgres_world.url, clock=postgres_world.clock, read_only=True)
    assert reader.views.run("r1").total == Counts(queued=2)
    with pytest.raises(StoreUnusable, match="for reading only"):
        reader.runs.end("r1", RunState.FINISHED)
    reader.close()
    with pytest.raises(StoreUnusable, match="there is no store yet"):
        open_store(
            postgres_world.url.replace("tesnap_tests", "postgres"), clock=postgres_world.clock, read_only=True
        )


def test_store_time_is_the_databases_clock_within_a_transaction(postgres_world: PostgresWorld) -> None:
    """It moves on while a transaction waits: `now()` would not."""
    with postgres_world.store._database.write() as tx:
        before = tx.now()
        postgres_world.advance(30)
        assert tx.now() == before + 30


def test_a_long_queue_is_not_read_to_see_who_is_next(postgres_world: PostgresWorld) -> None:
    """The server's plan for the earliest of each class seeks in the index of the turns, by whatever statistics."""
    world = postgres_world
    world.begin(5_000)
    question = sql.EARLIEST.replace(":run", "'r1'").replace(":identities", "CAST('{x}' AS TEXT[])")
    question = question.replace(":without", "CAST('{}' AS TEXT[])")
    with world.store._database.read() as tx:
        plan = "\n".join(str(row["QUERY PLAN"]) for row in tx.rows(f"EXPLAIN {question}"))
    assert "using run_task_turn" in plan
    assert "run_task_settled" not in plan
    assert "Seq Scan" not in plan
