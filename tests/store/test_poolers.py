"""Poolers between a process and its PostgreSQL server: real ones, in each of their modes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import errors

from orchestrator.core.errors import StoreTrouble, StoreUnavailable, StoreUnusable
from orchestrator.core.tasks import Counts
from orchestrator.store.postgres import PostgresDatabase, _Session
from orchestrator.store.store import open_store
from tests.store.mortal import mortal
from tests.store.world import BASE_URL, PostgresWorld
from tests.support.clock import VirtualClock
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import new_database

pytestmark = [pytest.mark.postgres, pytest.mark.process]

SHARED = [
    pytest.param({"pool_mode": "transaction"}, id="transaction"),
    pytest.param({"pool_mode": "transaction", "server_round_robin": 1}, id="in turn"),
    pytest.param({"pool_mode": "transaction", "default_pool_size": 1}, id="of one"),
    pytest.param({"pool_mode": "statement"}, id="statement"),
]


@pytest.fixture
def database(postgres_url: str) -> str:
    """A database whose store was made without a pooler; one test has it to itself."""
    url = new_database(postgres_url.rpartition("/")[0], "pooled")
    open_store(url, clock=VirtualClock()).close()
    return url


@pytest.fixture
def pooled(postgres_world: PostgresWorld) -> Iterator[str]:
    """The world's store through a pooler that gives each connection a session of its own."""
    with pgbouncer(postgres_world.url, pool_mode="session") as through:
        yield through


def left_behind(url: str) -> tuple[set[str], int]:
    """The search paths that a pool's clients meet, and how many locks of sessions there are."""
    clients = [psycopg.connect(url, autocommit=True) for _ in range(3)]
    paths = set()
    for client in clients * 2:
        row = client.execute("SELECT current_setting('search_path')").fetchone()
        paths.add(str(row and row[0]))
    (locks,) = clients[0].execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() or (
        0,
    )
    for client in clients:
        client.close()
    return paths, locks


@pytest.mark.parametrize("settings", SHARED)
@pytest.mark.parametrize("others", [0, 2])
def test_a_pooler_that_shares_out_its_sessions_is_refused(
    database: str, settings: dict[str, str | int], others: int
) -> None:
    """To whoever writes and to whoever looks, before anything is set that its other clients would meet."""
    with pgbouncer(database, **settings) as through, ExitStack() as clients:
        for _ in range(others):
            clients.enter_context(psycopg.connect(through, autocommit=True)).execute("SELECT 1")
        for read_only in (False, True):
            with pytest.raises(
                StoreUnusable, match=r"use session pooling .*or the database's direct address"
            ):
                open_store(through, clock=VirtualClock(), read_only=read_only)
        assert left_behind(through) == ({'"$user", public'}, 0)


def test_through_session_pooling_a_killed_process_is_taken_over(
    postgres_world: PostgresWorld, pooled: str
) -> None:
    """The pooler clears its session, and with it the lock; what lives goes on as without a pooler."""
    world = postgres_world
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.begin(3)
    world.store.queue.serve("r1", [])
    with mortal(pooled, acme) as other, mortal(pooled, acme) as third:
        for one in (other, third):
            assert one.do("grant") == "granted"
            assert one.do("send") == "done"
        assert world.store.queue.recover() == 0
        assert world.store.views.run("r1").processes == 2
        other.kill()
        while not world.store.queue.recover():
            pass
        assert third.do("settle") == "done"
    assert world.store.views.run("r1").total == Counts(created=1, uncertain=1, queued=1)


def test_many_statements_go_through_session_pooling(postgres_world: PostgresWorld, pooled: str) -> None:
    """As often as the driver prepares them, by one process after the other in the same session of the server."""
    world = postgres_world
    acme = world.begin(12)
    for _ in range(3):
        store = open_store(pooled, clock=world.clock)
        store.queue.serve("r1", [acme])
        for _ in range(8):
            store.organizations.bucket(acme)
            store.queue.recover()
        world.lease(acme, store=store)
        store.close()
    while world.store.views.run("r1").total != Counts(queued=12):
        world.store.queue.recover()  # the pooler clears a session a moment after its client has gone


def test_nothing_is_left_in_a_session_for_its_next_client(database: str) -> None:
    """Also where the pooler clears locks and nothing else."""
    settings = {"pool_mode": "session", "server_reset_query": "SELECT pg_advisory_unlock_all()"}
    with pgbouncer(database, **settings) as through:
        store = open_store(through, clock=VirtualClock())
        store.queue.serve("r1", [])
        store.close()
        assert left_behind(through) == ({'"$user", public'}, 0)


def test_a_pooler_that_keeps_the_locks_of_the_dead_is_refused(database: str) -> None:
    """Nobody would ever take over from a process that was killed."""
    with (
        pgbouncer(database, pool_mode="session", server_reset_query="") as through,
        pytest.raises(StoreUnusable, match=r"server_reset_query = DISCARD ALL"),
    ):
        open_store(through, clock=VirtualClock())


def test_a_pooler_without_room_is_named(database: str) -> None:
    """It would have the program wait in silence."""
    with (
        pgbouncer(database, pool_mode="session", default_pool_size=1) as through,
        pytest.raises(
            StoreUnavailable, match="had no second session free within 10 s: raise its pool's size"
        ),
    ):
        open_store(through, clock=VirtualClock())


def test_nothing_is_granted_in_a_session_that_is_not_ours(postgres_world: PostgresWorld) -> None:
    """The lock is in another one: a pooler that escaped us at the start is refused at the first grant."""
    acme = postgres_world.begin(1)
    database = postgres_world.store._database
    assert isinstance(database, PostgresDatabase)
    opened = database._open
    assert opened is not None
    number, opened.number = opened.number, -1
    with pytest.raises(StoreUnusable, match="use session pooling"):
        postgres_world.lease(acme)
    opened.number = number
    assert postgres_world.store.views.run("r1").total == Counts(queued=1)


@pytest.mark.parametrize("word", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_a_prepared_statement_that_is_gone_is_trouble_and_passes(
    postgres_world: PostgresWorld, word: str
) -> None:
    """Somebody cleared the session under us: one call fails, and a new session is made."""
    world = postgres_world
    acme = world.begin(2)
    for _ in range(8):
        world.store.organizations.bucket(acme)  # so often that the driver prepares it
    database = world.store._database
    assert isinstance(database, PostgresDatabase)
    opened = database._open
    assert opened is not None
    opened._mode.__exit__(None, None, None)
    for statement in (word, "SET search_path TO tesnap"):  # past the driver, which would notice
        opened._connection.pgconn.exec_(statement.encode())
    database._open = _Session(opened._connection, opened.number)
    with pytest.raises(StoreUnavailable, match=r"prepared statement .* does not exist"):
        world.store.organizations.bucket(acme)
    assert world.lease(acme).attempt == 1


def test_every_error_of_the_database_is_trouble_of_the_store(postgres_world: PostgresWorld) -> None:
    """Whatever it says: it may pass, or it is to be put right; it is never a fault that shows a traceback."""
    database = postgres_world.store._database
    assert isinstance(database, PostgresDatabase)
    kinds = {
        kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, psycopg.Error)
    }
    assert len(kinds) > 200
    for kind in kinds | {psycopg.Error, psycopg.DatabaseError, psycopg.ProgrammingError}:
        with pytest.raises(StoreTrouble, match=r"tesnap_tests: .*boom"):
            database._explain(kind("boom"))


def test_a_database_of_another_encoding_is_refused(postgres_url: str) -> None:
    """Names of tests have every character; under LATIN1 the store would fail at the first of them."""
    server = postgres_url.rpartition("/")[0]
    with psycopg.connect(f"{server}/postgres", autocommit=True) as side:
        side.execute("DROP DATABASE IF EXISTS latin")
        side.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(StoreUnusable, match="encoding is LATIN1: use one that was made with ENCODING 'UTF8'"):
        open_store(f"{server}/latin", clock=VirtualClock())


def test_the_environment_does_not_change_in_which_encoding_we_speak(
    postgres_world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGCLIENTENCODING is for other programs."""
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    store = postgres_world.open()
    known = store.organizations.join(BASE_URL, "東京 🙂", None)
    assert store.organizations.names()[known] == "東京 🙂"
