"""Runs: plans frozen under an id, tasks matched with what the store knows, results read back."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from orchestrator.core.errors import UsageError
from orchestrator.core.tasks import SNAPSHOT_LIFETIME, Counts, ListedEvents, Run, RunState, Snapshot, Status
from orchestrator.store.database import Database
from orchestrator.store.freezing import SOME
from orchestrator.store.runs import Runs
from orchestrator.store.store import open_store
from tests.store.test_freezing import CountingDatabase
from tests.store.world import (
    BASE_URL,
    FAILED,
    LIMIT,
    TIMEOUT,
    UNCERTAIN,
    PostgresWorld,
    World,
    created,
    queued,
    task,
)
from tests.support.relay import Relay
from tests.support.single import grant, settle


def second(world: World, acme: str, *, again: bool = False, **fields: object) -> Run:
    """The same task in another run."""
    return world.store.runs.start(Run(id="r2", job="nightly"), world.tasks(1, acme, **fields), again=again)


def test_a_plan_is_read_back_as_it_was_frozen(world: World) -> None:
    """In the order of the plan, more of them than are read at once."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    plan = world.tasks(1203, acme, test_name="Checkout", expect_saved_event=False, ready_at=5.0)
    run = world.store.runs.start(Run(id="r1", job="nightly", files=("a.yaml",)), iter(plan))
    assert (run.tasks, run.files, run.state) == (1203, ("a.yaml",), "active")
    assert run.created_at == world.store.epoch()
    results = list(world.open().views.results("r1"))
    assert [result.task for result in results] == plan
    assert {result.status for result in results} == {Status.QUEUED}


def test_the_same_task_twice_in_a_plan_is_one(world: World) -> None:
    """The first one counts, and the run has as many tasks as there are."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    twice = [
        task(1, acme, position=0),
        task(1, acme, position=1, job_name="again"),
        task(2, acme, position=2),
    ]
    assert world.store.runs.start(Run(id="r1", job="nightly"), twice).tasks == 2
    assert [r.task.job_name for r in world.store.views.results("r1")] == ["checkout", "checkout"]


def test_the_same_run_started_again_carries_on(world: World) -> None:
    """The frozen plan stands, whatever was planned anew."""
    acme = world.begin(2)
    world.make(acme)
    run = world.open().runs.start(Run(id="r1", job="nightly"), world.tasks(9, acme))
    assert run.tasks == 2
    assert world.states() == [Status.CREATED, Status.QUEUED]


def test_a_run_id_belongs_to_its_job(world: World) -> None:
    """Another job under the same id is a mistake."""
    acme = world.begin(1)
    with pytest.raises(UsageError, match="r1 belongs to the job 'nightly'"):
        world.store.runs.start(Run(id="r1", job="hourly"), world.tasks(1, acme))


def test_a_plan_is_frozen_all_or_nothing(world: World) -> None:
    """A task that cannot be stored leaves no run behind."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    broken = [task(1, acme), task(2, acme, display_name=None)]
    with pytest.raises(Exception, match=r"(?i)null"):
        world.store.runs.start(Run(id="r1", job="nightly"), broken)
    assert list(world.store.history.runs()) == []


def test_a_created_task_exists_for_another_run(world: World) -> None:
    """It is not made again, and the other run did not make it."""
    acme = world.begin(1)
    world.make(acme)
    second(world, acme)
    assert grant(world.store, world.ask(acme, "r2")) is None
    (result,) = world.store.views.results("r2")
    assert (result.status, result.made_here) == (Status.CREATED, False)
    assert world.store.views.run("r2").total == Counts(existing=1)
    assert world.store.views.run("r1").total == Counts(created=1)


@pytest.mark.parametrize(("age", "made"), [(SNAPSHOT_LIFETIME - 1, False), (SNAPSHOT_LIFETIME, True)])
def test_an_expired_snapshot_is_made_again(world: World, age: float, *, made: bool) -> None:
    """As a new generation, from the moment it is deleted."""
    acme = world.begin(1)
    world.make(acme)
    world.advance(age)
    second(world, acme)
    assert [result.task.generation for result in world.store.views.results("r2")] == [int(made)]
    assert world.states("r2") == [Status.QUEUED if made else Status.CREATED]


SAVED = Snapshot(id="s", event_id="e1", saved_event=True)
OTHERS = ListedEvents(names=frozenset({"other"}), ids=frozenset({"e9"}), read_at=0.0)


@pytest.mark.parametrize(
    ("age", "listed", "generation", "unverified"),
    [
        (SNAPSHOT_LIFETIME - 1, OTHERS, 0, False),
        (SNAPSHOT_LIFETIME, OTHERS, 1, False),
        (SNAPSHOT_LIFETIME, replace(OTHERS, ids=frozenset({"e1"})), 0, False),
        (SNAPSHOT_LIFETIME, None, 0, True),
    ],
    ids=["too early to ask", "gone", "listed", "not read"],
)
def test_a_saved_event_exists_while_it_is_listed(
    world: World, age: float, listed: ListedEvents | None, generation: int, *, unverified: bool
) -> None:
    """Past the day on which it may have been deleted; where nobody could look, that is remembered with the run."""
    acme = world.begin(1)
    lease = world.sent(acme)
    settle(world.store, lease, created(lease, snapshot=SAVED))
    world.advance(age)
    (wanted,) = world.tasks(1, acme)
    world.store.runs.start(Run(id="r2", job="nightly"), [replace(wanted, saved_events=listed)])
    (result,) = world.store.views.results("r2")
    assert (result.task.generation, result.task.unverified) == (generation, unverified)


def test_again_adds_a_generation(world: World) -> None:
    """With a key of its own, beside the snapshot that exists."""
    acme = world.begin(1)
    world.make(acme)
    second(world, acme, again=True)
    (old,), (new,) = world.store.views.results("r1"), world.store.views.results("r2")
    assert (old.task.base_key, new.task.generation) == (new.task.base_key, 1)
    assert old.task.key != new.task.key
    world.make(acme, "r2")
    world.store.runs.start(Run(id="r3", job="nightly"), world.tasks(1, acme))
    assert [result.task.generation for result in world.store.views.results("r3")] == [1]


def test_a_failed_task_is_queued_again_with_all_its_attempts(world: World) -> None:
    """What may have been made twice is not forgotten."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), replace(FAILED, duplicate_possible=True))
    second(world, acme)
    lease = world.lease(acme, "r2")
    assert (lease.tries, lease.first_sent_at, lease.duplicate_possible) == (0, None, True)
    assert [result.problem for result in world.store.views.results("r2")] == [None]


def test_an_uncertain_task_is_not_sent_and_is_looked_for_again(world: World) -> None:
    """At the next start of either run."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), UNCERTAIN)
    world.advance(TIMEOUT + LIMIT.grace)
    ((lease, _),) = world.store.uncertain.due("r1")
    world.store.uncertain.conclude(lease, found=None)
    second(world, acme)
    assert grant(world.store, world.ask(acme, "r2")) is None
    assert len(world.store.uncertain.due("r2")) == 1


def test_a_run_that_is_carried_on_looks_for_evidence_again(world: World) -> None:
    """For its own uncertain tasks, once, and nothing else changes."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), UNCERTAIN)
    world.store.runs.look_again("r1")
    assert world.store.uncertain.due("r1") == []  # the server may still carry the request out
    world.advance(TIMEOUT + LIMIT.grace)
    ((lease, _),) = world.store.uncertain.due("r1")
    world.store.uncertain.conclude(lease, found=None)
    world.store.runs.look_again("other")
    assert world.store.uncertain.due("r1") == []
    world.store.runs.look_again("r1")
    assert [again for again, _ in world.store.uncertain.due("r1")] == [lease]
    assert grant(world.store, world.ask(acme)) is None


def test_a_new_start_does_not_hasten_the_search_for_evidence(world: World) -> None:
    """While the server may still carry the request out, looking is too early."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), UNCERTAIN)
    second(world, acme)
    assert world.store.uncertain.due("r2") == []


def test_a_task_being_worked_on_is_waited_for(world: World) -> None:
    """Its outcome is the other run's, too."""
    acme = world.begin(1)
    lease = world.sent(acme)
    second(world, acme)
    world.wait(acme, "r2")
    settle(world.store, lease, created(lease))
    assert grant(world.store, world.ask(acme, "r2")) is None
    assert world.states("r2") == [Status.CREATED]


def test_a_queued_task_of_a_run_that_nobody_works_on_is_taken_over(world: World) -> None:
    """By whoever refers to it; then that run has made it."""
    acme = world.begin(1)
    second(world, acme)
    world.make(acme, "r2")
    assert world.store.views.run("r2").total == Counts(created=1)
    assert world.store.views.run("r1").total == Counts(existing=1)


def test_a_refused_task_is_stored_as_failed(world: World) -> None:
    """With the words of the refusal, and without a request."""
    acme = world.begin(2, refusal="the test is called otherwise")
    assert grant(world.store, world.ask(acme)) is None
    results = list(world.store.views.results("r1"))
    assert [(r.status, r.problem and r.problem.title, r.final) for r in results] == [
        (Status.FAILED, "the test is called otherwise", True)
    ] * 2
    second(world, acme)
    world.lease(acme, "r2")


def test_results_since_a_moment_are_those_settled_from_then_on(world: World) -> None:
    """So that what others settle is seen without reading everything."""
    acme = world.begin(3)
    world.make(acme)
    world.advance(10)
    since = world.store.now()
    world.make(acme)
    assert [result.task.position for result in world.store.views.results("r1", settled_since=since)] == [1]
    assert [r.task.position for r in world.store.views.results("r1", settled_since=float("-inf"))] == [0, 1]


def test_what_is_known_of_planned_tasks(world: World) -> None:
    """By base key; what was never planned is missing."""
    acme = world.begin(1)
    world.make(acme)
    known, unknown = world.tasks(2, acme)
    found = world.store.views.latest_results([known, unknown])
    assert [(key, result.status, result.made_here) for key, result in found.items()] == [
        (known.base_key, Status.CREATED, False)
    ]


def test_counts_are_kept_by_organization(world: World) -> None:
    """With a live process counted for the run it serves."""
    acme = world.begin(3)
    globex = world.store.organizations.join(BASE_URL, "globex", "9")
    world.store.runs.start(Run(id="r2", job="both"), [task(8, acme), task(9, globex, position=1)])
    other = world.open()
    other.queue.serve("r2", [acme, globex])
    view = world.store.views.run("r2")
    assert view.counts == {acme: Counts(queued=1), globex: Counts(queued=1)}
    assert (view.total, view.processes) == (Counts(queued=2), 1)
    assert set(world.store.views.versions("r2")) == {acme, globex}
    world.crash(other)
    assert world.store.views.run("r2").processes == 0


def test_runs_are_listed_the_latest_first(world: World) -> None:
    """With their states."""
    world.make(world.begin(1))
    world.advance(5)
    world.begin(1, run="r2")
    world.store.runs.end("r1", RunState.FINISHED)
    assert [(view.run.id, view.run.state) for view in world.store.history.runs()] == [
        ("r2", "active"),
        ("r1", "finished"),
    ]


def test_a_run_finishes_when_nothing_of_it_is_pending(world: World) -> None:
    """Somebody may have queued a task again, or cancelled the run, since it was looked at."""
    acme = world.begin(1)
    world.store.runs.end("r1", RunState.FINISHED)
    assert world.store.views.find_run("r1").state == "active"
    lease = world.sent(acme)
    world.store.runs.end("r1", RunState.FINISHED)
    assert world.store.views.find_run("r1").state == "active"
    settle(world.store, lease, UNCERTAIN)
    world.store.runs.end("r1", RunState.CANCELLED)
    world.store.runs.end("r1", RunState.FINISHED)
    assert world.store.views.find_run("r1").state == "cancelled"
    world.store.runs.end("r1", RunState.ACTIVE)
    world.store.runs.end("r1", RunState.FINISHED)
    assert world.store.views.find_run("r1").state == "finished"


def test_a_run_is_found_by_id_prefix_and_last(world: World) -> None:
    """A prefix has to be unique; a miss names what is near."""
    with pytest.raises(UsageError, match="nothing has been run"):
        world.store.views.find_run("last")
    for name in ("k7f2", "k7", "m3xx"):
        world.begin(1, run=name)
        world.advance(1)
    assert [world.store.views.find_run(text).id for text in ("k7f2", "k7", "m", "last")] == [
        "k7f2",
        "k7",
        "m3xx",
        "m3xx",
    ]
    with pytest.raises(UsageError, match="'k' begins several run ids: k7, k7f2"):
        world.store.views.find_run("k")
    with pytest.raises(UsageError, match="no run 'k7g2'; there are k7f2"):
        world.store.views.find_run("k7g2")


def test_a_backoff_seen_by_another_run_is_the_same(world: World) -> None:
    """A task's wait is its own, whichever run refers to it."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), queued(retry_in=30.0))
    second(world, acme)
    assert world.wait(acme, "r2").until == world.store.now() + 30


def test_a_touch_changes_nothing(world: World) -> None:
    """It is there to find out whether the store takes anything."""
    acme = world.begin(3)
    world.make(acme)
    before = (
        world.store.organizations.bucket(acme),
        world.store.views.run("r1"),
        list(world.store.views.results("r1")),
    )
    world.store.touch()
    assert before == (
        world.store.organizations.bucket(acme),
        world.store.views.run("r1"),
        list(world.store.views.results("r1")),
    )


def fail_all(world: World, many: int, run: str = "r1") -> None:
    """A run of which everything was sent once, and failed."""
    plan = [task(number, f"{BASE_URL}#name={run}-{number}", position=number) for number in range(many)]
    world.store.runs.start(Run(id=run, job="nightly"), plan)
    with world.store._database.write() as tx:
        tx.change("UPDATE task SET status = 'failed', attempt = 1, tries = 1 WHERE tries = 0")
        tx.change("UPDATE run_task SET phase = 4 WHERE run = :run", run=run)


def test_failed_tasks_are_queued_again_in_short_transactions(world: World) -> None:
    """In each of them nobody else can grant or store anything there."""
    fail_all(world, 2 * SOME + 1)
    database = CountingDatabase(world.store._database)
    runs = Runs(cast("Database", database), world.store.queue.register)
    assert runs.retry_failed("r1") == 2 * SOME + 1
    assert (database.written, set(world.states())) == (3, {Status.QUEUED})
    assert runs.retry_failed("r1") == 0


@pytest.mark.postgres
@pytest.mark.socket
def test_failed_tasks_cost_no_round_trips_each(postgres_world: PostgresWorld) -> None:
    """All of one transaction are read, changed and counted together."""
    assert count_retry_trips(postgres_world, 3) == count_retry_trips(postgres_world, 60) <= 10


def count_retry_trips(world: PostgresWorld, many: int) -> int:
    fail_all(world, many, f"r{many}")
    with Relay(world.url) as relay:
        store = open_store(relay.url, clock=world.clock)
        before = relay.trips
        assert store.runs.retry_failed(f"r{many}") == many
        trips = relay.trips - before
        store._database.close()
    return trips
