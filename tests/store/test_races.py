"""Two processes at one moment: never more grants than tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import psycopg
import pytest

from orchestrator.core.errors import RunBeingPlanned
from orchestrator.core.tasks import Counts, Lease, Run, RunState, Task
from orchestrator.store.store import Store
from tests.store.world import BASE_URL, FAILED, UNCERTAIN, PostgresWorld, World
from tests.support.single import grant, mark_sending, settle

ROUNDS = 4


T = TypeVar("T")


def at_once(*acts: Callable[[], T]) -> list[T]:
    """Do all of them at one moment, each in a thread; what they returned."""
    gate = threading.Barrier(len(acts))
    found: list[T] = []

    def act(one: Callable[[], T]) -> None:
        gate.wait()
        found.append(one())

    threads = [threading.Thread(target=act, args=(one,)) for one in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(acts)
    return found


def granting(world: World, store: Store, acme: str) -> Callable[[], list[Lease]]:
    ask = world.ask(acme)

    def take() -> list[Lease]:
        grants = [grant(store, ask) for _ in range(4)]
        return [granted for granted in grants if isinstance(granted, Lease)]

    return take


@pytest.mark.process
def test_processes_that_ask_at_once_share_five_tokens(world: World) -> None:
    """Twelve asks by three processes are five grants, of five tasks and five tokens."""
    acme = world.begin(60)
    stores = [world.store, world.open(), world.open()]
    for _ in range(ROUNDS):
        found = at_once(*(granting(world, store, acme) for store in stores))
        leases = [lease for leases in found for lease in leases]
        assert sorted(lease.token for lease in leases) == [1, 2, 3, 4, 5]
        assert len({lease.task.key for lease in leases}) == 5
        world.advance(1000)


@pytest.mark.process
def test_threads_of_one_process_share_its_connection(world: World) -> None:
    """The `sending` commit comes from the pool's threads."""
    acme = world.begin(5)
    leases = [world.lease(acme) for _ in range(5)]
    at_once(*(partial(mark_sending, world.store, lease) for lease in leases))
    assert world.store.views.run("r1").total.sending == 5


def start_when_free(store: Store, tasks: list[Task]) -> Run:
    """Start run r2, or have it as another process has planned it."""
    while True:
        with suppress(RunBeingPlanned):
            return store.runs.start(Run(id="r2", job="nightly"), tasks)


@pytest.mark.process
def test_two_processes_that_start_one_run_freeze_one_plan(world: World) -> None:
    """A replaced pod may meet the one it replaces: it waits while that one stores the plan."""
    acme = world.begin(0)
    tasks, other = world.tasks(50, acme), world.open()
    at_once(partial(start_when_free, world.store, tasks), partial(start_when_free, other, tasks))
    assert world.store.views.run("r2").total.queued == 50


ONE_STATEMENT = """
WITH locked AS (
    SELECT b.id FROM tesnap.bucket b JOIN tesnap.organization o ON o.bucket = b.id WHERE o.identity = %(acme)s
    FOR UPDATE OF b
), free AS (
    SELECT t.number FROM tesnap.token t JOIN locked l ON l.id = t.bucket
    WHERE t.returns_at <= %(now)s ORDER BY t.number LIMIT 1
), taken AS (
    UPDATE tesnap.token t SET returns_at = %(now)s + 390 FROM free f, locked l
    WHERE t.bucket = l.id AND t.number = f.number RETURNING t.number
) SELECT number FROM taken"""
"""A grant as one statement, which nobody should write: its snapshot is from before it waited for the lock."""


@pytest.mark.postgres
@pytest.mark.parametrize("as_one", [True, False], ids=["one statement", "the store"])
def test_a_grant_as_one_statement_would_give_a_token_twice(
    postgres_world: PostgresWorld, *, as_one: bool
) -> None:
    """Two sessions ask while a third holds the bucket's lock; one token is in."""
    world = postgres_world
    acme = world.begin(20)
    for _ in range(5):
        world.make(acme)
    world.advance(1000)
    for _ in range(4):
        world.lease(acme)
    now = world.store.now()

    def raw() -> Sequence[object]:
        with psycopg.connect(world.url, autocommit=True) as session:
            return session.execute(ONE_STATEMENT, {"acme": acme, "now": now}).fetchall()

    asks = [raw, raw] if as_one else [granting(world, store, acme) for store in (world.store, world.open())]
    assert behind_a_lock(world, acme, asks) == (2 if as_one else 1)


BUCKET = b"""SELECT 1 FROM tesnap.bucket b JOIN tesnap.organization o ON o.bucket = b.id WHERE o.identity = %s
FOR UPDATE OF b"""


def behind_a_lock(world: PostgresWorld, acme: str, acts: Sequence[Callable[[], Sequence[object]]]) -> int:
    """Have all of them wait for the bucket's lock, and then go on together; how much they got."""
    found: list[object] = []
    threads = [threading.Thread(target=lambda act=act: found.extend(act())) for act in acts]
    with psycopg.connect(world.url) as holder:
        holder.execute(BUCKET, [acme])
        for thread in threads:
            thread.start()
        while waiting(world) < len(threads):
            pass
    for thread in threads:
        thread.join()
    return len(found)


def waiting(world: PostgresWorld) -> int:
    """How many sessions wait for a lock."""
    row = world._side.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    ).fetchone()
    assert row is not None
    return int(row[0])


BUCKETS, RUNS = (
    b"SELECT 1 FROM tesnap.bucket FOR UPDATE",
    b"SELECT 1 FROM tesnap.run FOR UPDATE",
)


def one_after_the_other(
    world: PostgresWorld, *acts: Callable[[], object], lock: bytes = BUCKETS
) -> list[object]:
    """Have each of them wait for a lock before the next one begins; what they returned."""
    found: list[object] = []
    threads = [threading.Thread(target=lambda act=act: found.append(act())) for act in acts]
    with psycopg.connect(world.url) as holder:
        holder.execute(lock)
        for number, thread in enumerate(threads, start=1):
            thread.start()
            while waiting(world) < number and thread.is_alive():
                pass
    for thread in threads:
        thread.join()
    assert len(found) == len(acts)
    return found


@pytest.mark.postgres
def test_processes_that_learn_an_id_at_once_merge_two_organizations_once(
    postgres_world: PostgresWorld,
) -> None:
    """Whoever waited for the other finds that it has been done."""
    world = postgres_world
    world.begin(3)
    true = world.store.organizations.join(BASE_URL, "acme-prod", "77")
    stores = [world.open(), world.open()]
    found = one_after_the_other(
        world, *(partial(one.organizations.join, BASE_URL, "acme", "77") for one in stores)
    )
    assert found == [true, true]
    assert world.store.views.run("r1").counts == {true: Counts(queued=3)}


@pytest.mark.postgres
def test_many_processes_that_start_at_once_learn_one_id(postgres_world: PostgresWorld) -> None:
    """Without any order among them."""
    world = postgres_world
    stores = [world.open() for _ in range(4)]
    for number in range(3):
        acme = world.store.organizations.join(BASE_URL, f"acme{number}", None)
        world.store.runs.start(Run(id=f"r{number}", job="nightly"), world.tasks(50, acme))
        true = world.store.organizations.join(BASE_URL, f"prod{number}", str(number))
        joins = [partial(one.organizations.join, BASE_URL, f"acme{number}", str(number)) for one in stores]
        assert at_once(*joins) == [true] * len(stores)
        assert world.store.views.run(f"r{number}").counts == {true: Counts(queued=50)}


@pytest.mark.postgres
def test_a_plan_is_frozen_for_what_an_organization_has_become_meanwhile(
    postgres_world: PostgresWorld,
) -> None:
    """Its organization becomes part of another one while it waits for the lock."""
    world = postgres_world
    acme = world.begin(2)
    true = world.store.organizations.join(BASE_URL, "acme-prod", "77")
    one, other = world.open(), world.open()
    run = Run(id="r2", job="nightly")
    one_after_the_other(
        world,
        lambda: one.organizations.join(BASE_URL, "acme", "77"),
        lambda: other.runs.start(run, world.tasks(5, acme)),
    )
    assert world.store.views.run("r2").counts == {true: Counts(queued=5)}
    assert world.lease(acme, "r2").task.organization == true


@pytest.mark.postgres
@pytest.mark.parametrize("merging", [False, True])
def test_failed_tasks_are_queued_again_once(postgres_world: PostgresWorld, *, merging: bool) -> None:
    """Two that ask for it at once do not get in each other's way, and a merger does not either."""
    world = postgres_world
    acme = world.begin(1)
    settle(world.store, world.sent(acme), FAILED)
    true = world.store.organizations.join(BASE_URL, "acme-prod", "77")
    one, other = world.open(), world.open()
    first = (
        partial(one.organizations.join, BASE_URL, "acme", "77")
        if merging
        else partial(one.runs.retry_failed, "r1")
    )
    found = one_after_the_other(world, first, lambda: other.runs.retry_failed("r1"))
    assert {str(one) for one in found} == ({true, "1"} if merging else {"0", "1"})
    assert world.store.views.run("r1").total == Counts(queued=1)


@pytest.mark.postgres
@pytest.mark.parametrize("finishing_first", [False, True])
def test_a_run_does_not_finish_while_a_task_of_it_is_queued_again(
    postgres_world: PostgresWorld, *, finishing_first: bool
) -> None:
    """Whichever of the two has to wait for the other, sees what it did."""
    world = postgres_world
    acme = world.begin(1)
    lease = world.sent(acme)
    settle(world.store, lease, UNCERTAIN)
    one, other = world.open(), world.open()
    acts: list[Callable[[], object]] = [
        lambda: one.uncertain.settle_by_hand("r1", lease.task.short_key, made=None),
        lambda: other.runs.end("r1", RunState.FINISHED),
    ]
    one_after_the_other(world, *(reversed(acts) if finishing_first else acts), lock=RUNS)
    assert world.store.views.run("r1").run.state == "active"
    assert world.lease(acme).attempt == lease.attempt + 1
