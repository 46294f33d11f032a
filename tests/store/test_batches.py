"""Many organizations in one commit: each as if it were alone, and nobody in anybody else's way."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import partial

import psycopg
import pytest

from orchestrator.core.errors import LeaseLost, StoreTrouble, StoreUnavailable
from orchestrator.core.jobs import Limit, Pace, Priority
from orchestrator.core.tasks import Closing, Counts, Lease, Reason, Run, Settlement, Status
from orchestrator.ratelimit.bucket import Wait
from orchestrator.store.database import Database, Transaction
from orchestrator.store.leases import End
from orchestrator.store.queue import MOST, Queue
from orchestrator.store.sqlite import SqliteDatabase
from orchestrator.store.store import Store, open_store
from tests.store.test_races import at_once, waiting
from tests.store.world import BASE_URL, PostgresWorld, World, created, priorities, task
from tests.support.relay import Relay


def begin_many(world: World, many: int, each: int = 3, store: Store | None = None) -> list[str]:
    """A run of some tasks of each of many organizations, served by the store's process."""
    store = store or world.store
    names = [store.organizations.join(BASE_URL, f"org{number:03}", None) for number in range(many)]
    plan = [task(number, name) for name in names for number in range(each)]
    store.runs.start(Run(id="r1", job="nightly"), plan)
    store.queue.serve("r1", names)
    return names


def granted(world: World, names: Sequence[str], store: Store | None = None, most: int = 1) -> list[Lease]:
    """All that is granted at once to one ask for each of them."""
    answers = (store or world.store).queue.grant([world.ask(name, most=most) for name in names])
    return [lease for answer in answers for lease in answer.leases]


def ends_of(leases: Sequence[Lease]) -> list[End]:
    return [End(lease=lease, settlement=created(lease)) for lease in leases]


# -- what is asked for together ----------------------------------------------------------------------------


def test_each_ask_has_its_answer(world: World) -> None:
    """In the order of the asks: leases of its own organization, a wait, or that nothing is left."""
    first, second, third = begin_many(world, 3, each=1)
    held = world.lease(second)
    asks = [world.ask(name) for name in (third, "https://nobody#name=x", second, first)]
    answers = world.store.queue.grant(asks)
    assert [[lease.task.organization for lease in one.leases] for one in answers] == [
        [third],
        [],
        [],
        [first],
    ]
    assert [one.left for one in answers] == [True, False, True, True]
    assert all(one.reached for one in answers)
    assert world.store.queue.mark_sending([held, answers[0].leases[0]]) == [None, None]
    assert world.store.queue.settle(ends_of([held])) == [None]
    assert [one.left for one in world.store.queue.grant(asks)] == [True, False, False, True]


def test_more_than_fit_into_one_commit_are_asked_for_again(world: World) -> None:
    """A batch is bounded: the rest is not reached, and loses nothing."""
    names = begin_many(world, MOST + 2, each=1)
    answers = world.store.queue.grant([world.ask(name) for name in names])
    assert [one.reached for one in answers] == [True] * MOST + [False] * 2
    assert len(granted(world, names[MOST:])) == 2


def test_several_tokens_are_granted_by_the_rules_of_one(world: World) -> None:
    """As many as there is room for, in the order of the classes; then it is told what more waits for."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    plan = priorities(acme, *[Priority.NORMAL] * 3, *[Priority.INCIDENT] * 2, *[Priority.BATCH] * 3)
    world.store.runs.start(Run(id="r1", job="nightly"), plan)
    world.store.queue.serve("r1", [acme])
    (some,) = world.store.queue.grant([world.ask(acme, most=2)])
    assert ([lease.task.priority for lease in some.leases], some.wait) == ([Priority.INCIDENT] * 2, None)
    (rest,) = world.store.queue.grant([world.ask(acme, most=9)])
    assert [lease.task.priority for lease in rest.leases] == [Priority.NORMAL] * 3
    assert rest.wait is not None
    assert rest.wait.reason is Reason.OWN_QUOTA
    assert sorted(lease.token for lease in (*some.leases, *rest.leases)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("limit", "at_first"), [(Limit(use=2), 2), (Limit(pace=Pace.EVEN), 1), (Limit(snapshots=3), 3)]
)
def test_what_a_limit_says_holds_for_several_at_once(world: World, limit: Limit, at_first: int) -> None:
    """`use` leaves tokens aside, an even pace spreads them, a smaller limit has fewer."""
    acme = world.begin(9)
    (answer,) = world.store.queue.grant([world.ask(acme, most=9, limit=limit)])
    assert len(answer.leases) == at_first
    assert answer.wait is not None


def test_a_probe_goes_alone(world: World) -> None:
    """However many are asked for, one request finds out if a closed gate is open again."""
    acme = world.begin(9)
    lease = world.sent(acme)
    refused = Settlement(status=Status.QUEUED, answered=True, counts=False, closing=Closing(seconds=20.0))
    world.store.queue.settle([End(lease=lease, settlement=refused)])
    world.advance(400)
    (answer,) = world.store.queue.grant([world.ask(acme, most=5)])
    assert [lease.probe for lease in answer.leases] == [True]
    assert answer.wait == Wait(until=None, reason=Reason.FOREIGN_QUOTA)


# -- one of them that is not like the others ---------------------------------------------------------------


def test_a_lost_lease_among_others_is_told_and_they_are_stored(world: World) -> None:
    """Before the first byte, and at the end."""
    leases = granted(world, begin_many(world, 3))
    world.store.queue.settle([End(lease=leases[1], settlement=None)])
    sending = world.store.queue.mark_sending(leases)
    assert [type(one) for one in sending] == [type(None), LeaseLost, type(None)]
    settled = world.store.queue.settle(ends_of(leases))
    assert [type(one) for one in settled] == [type(None), LeaseLost, type(None)]
    assert world.store.views.run("r1").total == Counts(created=2, queued=7)


REFUSED = "https://x/refused"
"""The link of a snapshot that the database of these tests does not take."""

REFUSE = {
    "sqlite": (
        f"""CREATE TRIGGER refuse BEFORE UPDATE ON task WHEN NEW.snapshot LIKE '%{REFUSED}%'
        BEGIN SELECT RAISE(ABORT, 'refused'); END""",
    ),
    "postgres": (
        "CREATE FUNCTION tesnap.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END'",
        f"""CREATE TRIGGER refuse BEFORE UPDATE ON tesnap.task FOR EACH ROW
        WHEN (NEW.snapshot LIKE '%{REFUSED}%') EXECUTE FUNCTION tesnap.refuse()""",
    ),
}


def refuse_some(world: World) -> None:
    """Have the database refuse whatever has this link."""
    if isinstance(world, PostgresWorld):
        for statement in REFUSE["postgres"]:
            world._side.execute(statement.encode())
    else:
        database = world.store._database
        assert isinstance(database, SqliteDatabase)
        for statement in REFUSE["sqlite"]:
            database._connection.execute(statement)


def test_an_end_that_the_store_refuses_keeps_no_other_one_back(world: World) -> None:
    """All others are stored; the error is told, and what was stored is known to be when it comes again."""
    leases = granted(world, begin_many(world, 4, each=1))
    world.store.queue.mark_sending(leases)
    refuse_some(world)
    ends = ends_of(leases)
    snapshot = created(leases[1]).snapshot
    assert snapshot is not None
    bad = created(leases[1], snapshot=type(snapshot)(id="s", event_id="e", link=REFUSED))
    ends[1] = End(lease=leases[1], settlement=bad)
    with pytest.raises(StoreTrouble, match="refused"):
        world.store.queue.settle(ends)
    assert world.store.views.run("r1").total == Counts(created=3, sending=1)
    ends[1] = End(lease=leases[1], settlement=created(leases[1]))
    assert [type(one) for one in world.store.queue.settle(ends)] == [
        LeaseLost,
        type(None),
        LeaseLost,
        LeaseLost,
    ]
    assert world.store.views.run("r1").total == Counts(created=4)


class Away:
    """A database that cannot be reached, and counts how often that was tried."""

    def __init__(self) -> None:
        self.tried = 0

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        self.tried += 1
        raise StoreUnavailable("nobody there")
        yield  # type: ignore[unreachable] # it never comes to this


def test_a_store_that_is_away_is_not_tried_once_for_each_end(world: World) -> None:
    """Together, then two alone: the rest would fare no better, and each may take as long as a connection does."""
    leases = granted(world, begin_many(world, 9, each=1))
    away = Away()
    database: Database = away  # type: ignore[assignment] # as much of one as is asked for
    with pytest.raises(StoreUnavailable):
        Queue(database).settle(ends_of(leases))
    assert away.tried == 3


# -- several processes -------------------------------------------------------------------------------------

BUCKET = b"""SELECT b.id FROM tesnap.bucket b JOIN tesnap.organization o ON o.bucket = b.id WHERE o.identity = %s
FOR UPDATE OF b"""


@contextlib.contextmanager
def locked(world: PostgresWorld, name: str) -> Iterator[psycopg.Connection]:
    """Somebody else at work at an organization."""
    with psycopg.connect(world.url) as holder:
        holder.execute(BUCKET, [name])
        yield holder


@pytest.mark.postgres
def test_an_organization_that_is_locked_keeps_no_other_one_waiting(postgres_world: PostgresWorld) -> None:
    """It is not reached; asked for alone, its lock is waited for."""
    world = postgres_world
    names = begin_many(world, 3)
    with locked(world, names[1]):
        answers = world.store.queue.grant([world.ask(name) for name in names])
    assert [(one.reached, len(one.leases)) for one in answers] == [(True, 1), (False, 0), (True, 1)]
    found: list[Lease] = []
    with locked(world, names[1]):
        thread = threading.Thread(target=lambda: found.extend(granted(world, names[1:2])))
        thread.start()
        while not waiting(world):
            pass
    thread.join()
    assert len(found) == 1


@pytest.mark.postgres
def test_an_end_at_a_locked_organization_is_stored_after_the_others(postgres_world: PostgresWorld) -> None:
    """While one of them waits for the lock, the others can be seen."""
    world = postgres_world
    names = begin_many(world, 3, each=1)
    leases = granted(world, names)
    world.store.queue.mark_sending(leases)
    look, words = world.open(), []
    with locked(world, names[1]):
        thread = threading.Thread(target=lambda: words.extend(world.store.queue.settle(ends_of(leases))))
        thread.start()
        while not waiting(world):
            pass
        assert look.views.run("r1").total == Counts(created=2, sending=1)
    thread.join()
    assert words == [None, None, None]
    assert look.views.run("r1").total == Counts(created=3)


@pytest.mark.process
def test_batches_in_opposite_order_meet_without_a_deadlock(world: World) -> None:
    """Two processes ask for the same organizations again and again: each token goes once."""
    names = begin_many(world, 12, each=10)
    other = world.open()

    def take(store: Store, order: Sequence[str]) -> list[Lease]:
        found: list[Lease] = []
        left = list(order)
        while left:
            answers = store.queue.grant([world.ask(name, most=2) for name in left])
            found += [lease for one in answers for lease in one.leases]
            left = [
                name for name, one in zip(left, answers, strict=True) if not one.reached or one.wait is None
            ]
        return found

    mine, theirs = at_once(partial(take, world.store, names), partial(take, other, names[::-1]))
    leases = [*mine, *theirs]
    assert len({(lease.task.organization, lease.token) for lease in leases}) == len(leases) == 5 * len(names)
    assert len({lease.task.key for lease in leases}) == len(leases)
    acts = [
        partial(world.store.queue.settle, ends_of(leases)),
        partial(other.queue.settle, ends_of(leases[::-1])),
    ]
    at_once(*acts)
    assert world.store.views.run("r1").total == Counts(created=len(leases), queued=12 * 5)


# -- broken off --------------------------------------------------------------------------------------------


@pytest.fixture
def relayed(postgres_world: PostgresWorld) -> Iterator[tuple[Relay, Store]]:
    """A process whose way to the server can be cut."""
    with Relay(postgres_world.url) as relay:
        store = open_store(relay.url, clock=postgres_world.clock)
        yield relay, store
        store._database.close()


@pytest.mark.postgres
@pytest.mark.socket
@pytest.mark.parametrize("carried_out", [False, True], ids=["asked in vain", "the answer is lost"])
@pytest.mark.parametrize("trip", [1, 2])
def test_a_grant_that_is_broken_off_is_had_whole_or_not_at_all(
    postgres_world: PostgresWorld, relayed: tuple[Relay, Store], trip: int, *, carried_out: bool
) -> None:
    """Between reading and writing, and after the commit: what nobody heard of is queued again."""
    world, (relay, store) = postgres_world, relayed
    names = begin_many(world, 3, store=store)
    granted(world, names, store)
    relay.break_at(trip, carried_out=carried_out)
    with pytest.raises(StoreUnavailable):
        granted(world, names, store)
    world.rolled_back()
    written = trip == 2 and carried_out
    assert world.store.views.run("r1").total == Counts(leased=6 if written else 3, queued=3 if written else 6)
    assert store.queue.recover() == (3 if written else 0)
    assert world.store.views.run("r1").total == Counts(leased=3, queued=6)
    assert len(granted(world, names, store, most=5)) == 6


@pytest.mark.postgres
@pytest.mark.socket
@pytest.mark.parametrize("carried_out", [False, True], ids=["asked in vain", "the answer is lost"])
@pytest.mark.parametrize("trip", [1, 2])
def test_ends_that_are_broken_off_are_stored_when_they_come_again(
    postgres_world: PostgresWorld, relayed: tuple[Relay, Store], trip: int, *, carried_out: bool
) -> None:
    """Made again at once, one by one, behind a new session: nobody is told that another process has taken them over."""
    world, (relay, store) = postgres_world, relayed
    leases = granted(world, begin_many(world, 3, each=1, store=store), store)
    store.queue.mark_sending(leases)
    relay.break_at(trip, carried_out=carried_out)
    assert store.queue.settle(ends_of(leases)) == [None] * 3
    assert world.store.views.run("r1").total == Counts(created=3)


@pytest.mark.postgres
def test_a_process_that_is_gone_with_a_batch_on_the_wire_leaves_each_task_uncertain(
    postgres_world: PostgresWorld,
) -> None:
    """Whoever looks next takes all of them over."""
    world = postgres_world
    other = world.open()
    leases = granted(world, begin_many(world, 5, each=1), other)
    other.queue.mark_sending(leases)
    world.crash(other)
    assert world.store.queue.recover() == 5
    assert world.store.views.run("r1").total == Counts(uncertain=5)
