"""A plan on its way into the store: seen by nobody until it is whole, and gone with the process that stores it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, cast

import pytest

from orchestrator.core.errors import RunBeingPlanned, StoreUnavailable, UsageError
from orchestrator.core.tasks import ListedEvents, Run, Status, Task
from orchestrator.store.database import Database, Transaction
from orchestrator.store.freezing import SOME, take_up
from orchestrator.store.runs import Runs
from orchestrator.store.store import open_store
from tests.store.world import BASE_URL, FAILED, UNCERTAIN, PostgresWorld, World, created, task
from tests.support.relay import Relay
from tests.support.single import grant, settle

NEW = Run(id="r9", job="nightly")
MANY = 2 * SOME + 1


def plan(tasks: list[Task], meanwhile: Callable[[], object]) -> Iterator[Task]:
    """A plan; when most of it is stored, something else happens."""
    yield from tasks[:-1]
    meanwhile()
    yield tasks[-1]


class Killed(Exception):
    """The process ends here."""


def die_while_planning(world: World, tasks: list[Task], *, again: bool = False) -> None:
    """Another process dies when it has stored most of a plan."""
    store = world.open()

    def die() -> None:
        world.crash(store)
        raise Killed

    with pytest.raises(Killed):
        store.runs.start(NEW, plan(tasks, die), again=again)


def rows_of(world: World, run: str = NEW.id) -> tuple[int, int]:
    """How many tasks there are in the store, and how many references a run has."""
    with world.store._database.read() as tx:
        tasks = tx.rows("SELECT COUNT(*) AS number FROM task")[0]["number"]
        references = tx.rows("SELECT COUNT(*) AS number FROM run_task WHERE run = :run", run=run)
    return tasks, references[0]["number"]


def acme_of(world: World) -> str:
    return world.store.organizations.join(BASE_URL, "acme", None)


def test_a_run_is_in_no_list_while_it_is_planned(world: World) -> None:
    """Neither found by its id nor granted anything, and there with all of its tasks from the last commit on."""
    acme, seen = acme_of(world), []

    def look() -> None:
        other = world.open()
        assert (list(other.history.runs()), rows_of(world)) == ([], (2 * SOME, 2 * SOME))
        assert other.history.count_runs() == 0
        for text in (NEW.id, NEW.id[:1], "last"):
            with pytest.raises(UsageError):
                other.views.find_run(text)
        other.queue.serve(NEW.id, [acme])
        seen.append(grant(other, world.ask(acme, NEW.id)))

    run = world.store.runs.start(NEW, plan(world.tasks(MANY, acme), look))
    assert (run.tasks, seen) == (MANY, [None])
    assert [view.run.id for view in world.store.history.runs()] == [NEW.id]


def test_who_asks_for_a_run_that_is_being_planned_hears_so(world: World) -> None:
    """By its whole id; it is not said that there is none. When its planner is dead there never was one."""
    acme, store = acme_of(world), world.open()

    def ask_and_die() -> None:
        with pytest.raises(UsageError, match="run r9 is being planned at this moment"):
            world.store.views.find_run(NEW.id)
        world.crash(store)
        raise Killed

    with pytest.raises(Killed):
        store.runs.start(NEW, plan(world.tasks(MANY, acme), ask_and_die))
    with pytest.raises(UsageError, match="there is no run 'r9'"):
        world.store.views.find_run(NEW.id)


def test_a_run_whose_planner_died_never_was(world: World) -> None:
    """Whoever starts a run next removes it and all that it alone refers to."""
    acme = acme_of(world)
    die_while_planning(world, world.tasks(MANY, acme))
    assert (list(world.store.history.runs()), rows_of(world)) == ([], (2 * SOME, 2 * SOME))
    world.store.runs.start(Run(id="r2", job="nightly"), world.tasks(1, acme, account_group="7"))
    assert rows_of(world) == (1, 0)


def test_the_same_run_is_planned_anew_after_its_planner_died(world: World) -> None:
    """Nothing of the plan of before is in it."""
    acme = acme_of(world)
    die_while_planning(world, world.tasks(MANY, acme))
    run = world.store.runs.start(replace(NEW, job="hourly"), world.tasks(3, acme, account_group="7"))
    assert (run.job, run.tasks, rows_of(world)) == ("hourly", 3, (3, 3))


def test_another_run_may_want_what_a_plan_on_its_way_has(world: World) -> None:
    """It makes the snapshot; the run that is planned finds it made, or leaves it to the other one when its process dies."""
    acme = acme_of(world)
    tasks = world.tasks(SOME + 1, acme)

    def make_first() -> None:
        world.store.runs.start(Run(id="r2", job="nightly"), tasks[:1])
        world.store.queue.serve("r2", [acme])
        world.make(acme, "r2")

    other = world.open()
    other.runs.start(NEW, plan(tasks, make_first))
    assert [one.status for one in world.store.views.results(NEW.id)][:2] == [Status.CREATED, Status.QUEUED]
    assert next(iter(world.store.views.results(NEW.id))).made_here is False


def test_what_another_run_refers_to_outlives_the_plan(world: World) -> None:
    """Queued as it was: the other run still wants it."""
    acme = acme_of(world)
    tasks, store = world.tasks(SOME + 1, acme), world.open()

    def die() -> None:
        world.store.runs.start(Run(id="r2", job="nightly"), tasks[:2])
        world.crash(store)
        raise Killed

    with pytest.raises(Killed):
        store.runs.start(NEW, plan(tasks, die))
    world.store.runs.start(Run(id="r3", job="nightly"), tasks[1:2])
    assert rows_of(world) == (2, 0)
    assert world.states("r2") == [Status.QUEUED, Status.QUEUED]


def test_a_failed_task_is_queued_again_only_by_a_plan_that_is_whole(world: World) -> None:
    """A process that dies before leaves it failed, with its reason."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), FAILED)
    tasks = world.tasks(SOME + 1, acme)
    die_while_planning(world, tasks)
    assert world.states() == [Status.FAILED]
    world.store.runs.start(NEW, tasks)
    assert world.states() == [Status.QUEUED]
    assert world.store.views.find_run(NEW.id).tasks == SOME + 1


def test_a_generation_of_a_plan_that_never_was_is_gone(world: World) -> None:
    """The snapshot that exists is again what everybody finds."""
    acme = world.begin(SOME + 1)
    lease = world.sent(acme)
    settle(world.store, lease, created(lease))
    die_while_planning(world, world.tasks(SOME + 1, acme), again=True)
    world.store.runs.start(NEW, world.tasks(1, acme))
    assert world.states(NEW.id) == [Status.CREATED]


@pytest.mark.parametrize("end", [FAILED, UNCERTAIN], ids=["failed", "uncertain"])
def test_whoever_carries_on_takes_up_what_the_plan_found(world: World, end: object) -> None:
    """Also where the process that stored the plan died right after its last commit."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), end)  # type: ignore[arg-type] # one of two settlements
    with world.store._database.write() as tx:
        tx.change("UPDATE task SET evidence_due = NULL")
    world.store.runs.start(NEW, world.tasks(1, acme))
    with world.store._database.write() as tx:  # as if it had died before it took them up
        tx.change("UPDATE run_task SET afresh = '' WHERE run = :run", run=NEW.id)
        tx.change("UPDATE task SET status = :status, evidence_due = NULL", status=end.status.value)  # type: ignore[attr-defined]
    world.open().runs.look_again(NEW.id)
    (result,) = world.store.views.results(NEW.id)
    assert result.status is (Status.QUEUED if end is FAILED else Status.UNCERTAIN)
    assert (result.evidence_due is None) == (end is FAILED)


def test_a_plan_that_is_being_stored_is_waited_for(world: World) -> None:
    """By whoever starts the same run: it is neither planned twice nor taken for another one."""
    acme = acme_of(world)

    def start_too() -> None:
        with pytest.raises(RunBeingPlanned, match="run r9 is being planned by another process"):
            world.open().runs.start(NEW, world.tasks(1, acme))

    assert world.store.runs.start(NEW, plan(world.tasks(MANY, acme), start_too)).tasks == MANY


def test_a_planner_that_was_taken_for_dead_stores_nothing_more(world: World) -> None:
    """What it had stored is gone: a part of a plan must not become a run."""
    acme = acme_of(world)

    def remove() -> None:
        with world.store._database.write() as tx:
            for table in ("run", "run_task", "run_organization", "task"):
                tx.change(f"DELETE FROM {table}")  # noqa: S608 - four names of above

    with pytest.raises(StoreUnavailable, match="run the same command again"):
        world.store.runs.start(NEW, plan(world.tasks(MANY, acme), remove))
    assert (list(world.store.history.runs()), rows_of(world)) == ([], (0, 0))


class CountingDatabase:
    """The database, with a count of the transactions that write."""

    def __init__(self, real: Database) -> None:
        self._real, self.written = real, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self) -> AbstractContextManager[Transaction]:
        self.written += 1
        return self._real.write()


@pytest.mark.parametrize("runs_before", [0, 5])
def test_a_plan_is_stored_in_short_transactions(world: World, runs_before: int) -> None:
    """So many tasks in each; nothing more with each run that the store has from before."""
    acme = acme_of(world)
    for number in range(runs_before):
        world.store.runs.start(Run(id=f"r{number}", job="nightly"), world.tasks(1, acme))
    database = CountingDatabase(world.store._database)
    runs = Runs(cast("Database", database), world.store.queue.register)
    runs.start(NEW, world.tasks(3 * SOME, acme, account_group="7"))
    assert database.written == 6  # begun, the batches, the statistics, and the last commit


def test_nothing_is_left_to_take_up(world: World) -> None:
    """Once is enough: the second time nothing is written."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), FAILED)
    world.store.runs.start(NEW, world.tasks(1, acme))
    before = world.store.views.versions(NEW.id)
    take_up(world.store._database, NEW.id)
    assert world.store.views.versions(NEW.id) == before


@pytest.mark.postgres
@pytest.mark.socket
@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_a_plan_costs_no_round_trips_for_each_organization(
    postgres_world: PostgresWorld, *, known: bool
) -> None:
    """It has the locks of all that it plans for: whoever is to store an answer there waits for as long as it takes."""
    trips = [count_trips(postgres_world, many, known=known) for many in (3, 60)]
    assert trips[0] == trips[1] <= 30


def count_trips(world: PostgresWorld, many: int, *, known: bool) -> int:
    """The round trips of starting a run with one task of each of so many organizations."""
    plan = [task(number, f"{BASE_URL}#name={many}-{number}", position=number) for number in range(many)]
    plan = [replace(one, saved_events=ListedEvents(names=frozenset(), read_at=0.0)) for one in plan]
    if known:
        world.store.runs.start(Run(id=f"before-{many}", job="nightly"), plan)
    with Relay(world.url) as relay:
        store = open_store(relay.url, clock=world.clock)
        store.queue.register()
        before = relay.trips
        store.runs.start(Run(id=f"with-{many}", job="nightly"), plan)
        trips = relay.trips - before
        store._database.close()
    return trips
