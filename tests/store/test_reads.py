"""Reads that several processes reserve in one store."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.api.credentials import Bearer
from orchestrator.core.jobs import identity
from orchestrator.ratelimit.reads import GUARD, MOST_READS, PERIOD
from orchestrator.store.reads import ReadAsk, ReadGrant
from tests.store.world import BASE_URL, TIMEOUT, PostgresWorld, SqliteWorld, World

ACME = identity(BASE_URL, org_id="1001")
PROCESSES = 4


def wish(ticket: str, wanted: int, reader: str = ACME) -> ReadAsk:
    return ReadAsk(reader=reader, ticket=ticket, wanted=wanted, timeout=TIMEOUT)


def test_processes_share_the_reads_of_an_organization(world: World) -> None:
    """The second one has what the first one has left, and the third one waits until that was answered."""
    first, second, third = world.store, world.open(), world.open()
    assert first.reads.reserve([wish("a", 150)]) == [ReadGrant(count=150)]
    assert second.reads.reserve([wish("b", 150)]) == [ReadGrant(count=50)]
    (none,) = third.reads.reserve([wish("c", 1)])
    assert none.count == 0
    first.reads.reserve([ReadAsk(reader=ACME, ended=(("a", 20),))])
    assert third.reads.reserve([wish("c", MOST_READS)]) == [ReadGrant(count=130)]
    assert first.reads.reserve([wish("d", 1)]) == [ReadGrant(count=0, wait=PERIOD + GUARD)]
    world.advance(PERIOD + GUARD)
    assert first.reads.reserve([wish("d", MOST_READS)]) == [ReadGrant(count=20)]


def test_each_organization_has_its_own(world: World) -> None:
    """Many of them are asked for in one transaction, each answered in its place."""
    asks = [wish("a", number, f"{BASE_URL}#id={number}") for number in range(1, 60)]
    assert [grant.count for grant in world.store.reads.reserve(asks)] == list(range(1, 60))


@pytest.mark.process
def test_processes_that_ask_at_once_get_no_more_together(world: World) -> None:
    """Each has the others' before its eyes."""
    stores = [world.open() for _ in range(PROCESSES)]
    together = threading.Barrier(PROCESSES)

    def ask(at: int) -> int:
        together.wait(TIMEOUT)
        return sum(stores[at].reads.reserve([wish(f"{at}-{n}", 30)])[0].count for n in range(3))

    with ThreadPoolExecutor(PROCESSES) as pool:
        assert sum(pool.map(ask, range(PROCESSES))) == MOST_READS


def test_a_token_has_one_sign_in_all_processes(world: World) -> None:
    """And another at another address; nobody reads the token out of it."""
    other = world.open()
    sign = world.store.reads.sign_of(BASE_URL, Bearer("secret-1").digest)
    assert other.reads.sign_of(BASE_URL, Bearer("secret-1").digest) == sign
    assert other.reads.sign_of("https://api.example.org/v7", Bearer("secret-1").digest) != sign
    assert "secret-1" not in sign


@pytest.mark.postgres
def test_a_database_clock_that_was_set_back_does_not_keep_reads_out(postgres_world: PostgresWorld) -> None:
    """What was left at the last look counts from now: an hour back costs what was left, not an hour."""
    world = postgres_world
    world.store.reads.reserve([wish("a", MOST_READS)])
    world.store.reads.reserve([ReadAsk(reader=ACME, ended=(("a", MOST_READS),))])
    world.advance(20)
    left = PERIOD + GUARD - 20
    assert world.store.reads.reserve([wish("b", 1)]) == [ReadGrant(count=0, wait=left)]
    for _ in range(2):
        world.step(-3600)
        assert world.open().reads.reserve([wish("b", 1)]) == [ReadGrant(count=0, wait=left)]
    world.advance(left)
    assert world.store.reads.reserve([wish("b", MOST_READS)]) == [ReadGrant(count=MOST_READS)]


def test_reads_are_out_for_what_was_left_after_a_reboot(sqlite_world: SqliteWorld) -> None:
    """The boot clock began anew."""
    world = sqlite_world
    world.store.reads.reserve([wish("a", MOST_READS)])
    world.store.reads.reserve([ReadAsk(reader=ACME, ended=(("a", MOST_READS),))])
    world.end(world.store)
    world.clock.reboot("another boot", 20.0)
    store = world.open()
    assert store.reads.reserve([wish("b", 1)]) == [ReadGrant(count=0, wait=PERIOD + GUARD)]
