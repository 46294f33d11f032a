"""What people decide: failed tasks once more, uncertain ones one way or the other."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.core.errors import LeaseLost, UsageError
from orchestrator.core.tasks import (
    Counts,
    Lease,
    ListedEvents,
    PossibleEvent,
    Reason,
    Result,
    Run,
    RunState,
    Settlement,
    Snapshot,
    Status,
    Task,
)
from tests.store.world import BASE_URL, FAILED, UNCERTAIN, SqliteWorld, World, created, task
from tests.support.commands import ran
from tests.support.single import give_back, grant, settle


def test_failed_tasks_are_queued_again_with_all_their_attempts(world: World) -> None:
    """Those of the run alone; what exists stays."""
    acme = world.begin(2)
    settle(world.store, world.sent(acme), FAILED)
    world.make(acme)
    world.store.runs.end("r1", RunState.FINISHED)
    assert world.store.views.run("r1").run.state is RunState.FINISHED
    assert world.store.runs.retry_failed("r1") == 1
    assert world.store.views.run("r1").run.state == "active"
    assert world.store.views.run("r1").total == Counts(created=1, queued=1)
    assert (world.lease(acme).task.position, world.store.runs.retry_failed("r1")) == (0, 0)


def test_a_task_refused_when_it_was_planned_is_never_sent(world: World) -> None:
    """Its test is called otherwise than the job file says: trying again does not change that."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.store.runs.start(Run(id="r1", job="nightly"), [task(1, acme, refusal="called otherwise")])
    assert world.store.runs.retry_failed("r1") == 0
    assert grant(world.store, world.ask(acme)) is None


def uncertain(world: World) -> tuple[str, Lease]:
    acme = world.begin(1)
    lease = world.sent(acme)
    settle(world.store, lease, UNCERTAIN)
    return acme, lease


def test_an_uncertain_task_is_created_by_hand(world: World) -> None:
    """With the id that somebody found, and no more search for evidence."""
    _, lease = uncertain(world)
    result = world.store.uncertain.settle_by_hand("r1", lease.task.short_key, made=Snapshot(id="77"))
    assert [result] == list(world.store.views.results("r1"))
    assert (result.status, result.snapshot, result.found) == (Status.CREATED, Snapshot(id="77"), "hand")
    assert result.final
    with pytest.raises(LeaseLost):
        world.store.uncertain.conclude(lease, found=None)


STRANGER = Settlement(status=Status.QUEUED, answered=False, look_first=True, duplicate_possible=True)


def test_what_somebody_else_answered_goes_again_once_it_was_looked_at(world: World) -> None:
    """It waits in the queue, with its token out; then it is sent as itself, flagged, and not as a resend."""
    acme = world.begin(1)
    lease = world.sent(acme)
    settle(world.store, lease, STRANGER)
    assert world.store.views.run("r1").total == Counts(queued=1)
    wait = world.wait(acme)
    assert (wait.reason, world.store.uncertain.due("r1")) == (Reason.EVIDENCE, [])
    world.advance(91)
    ((looked, result),) = world.store.uncertain.due("r1")
    assert result.status is Status.QUEUED
    assert world.store.uncertain.conclude(looked, found=None)
    again = world.lease(acme)
    assert (again.attempt, again.tries, again.resends, again.duplicate_possible) == (2, 1, 0, True)


def test_what_is_found_behind_somebody_else_s_answer_was_made(world: World) -> None:
    """The saved event settles it; nothing is sent."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), STRANGER)
    world.advance(91)
    ((looked, _),) = world.store.uncertain.due("r1")
    assert not world.store.uncertain.conclude(looked, found=Snapshot(id="7"), how="saved_event")
    (result,) = world.store.views.results("r1")
    assert (result.status, result.found, grant(world.store, world.ask(acme))) == (
        Status.CREATED,
        "saved_event",
        None,
    )


def test_an_uncertain_task_that_was_not_made_is_queued_again(world: World) -> None:
    """And its old attempt can say nothing any more."""
    acme, lease = uncertain(world)
    assert world.store.uncertain.settle_by_hand("r1", lease.task.short_key, made=None).status is Status.QUEUED
    with pytest.raises(LeaseLost):
        settle(world.store, lease, created(lease))
    assert world.lease(acme).tries == 0


@pytest.mark.parametrize(
    ("before", "after"), [(RunState.FINISHED, RunState.ACTIVE), (RunState.CANCELLED, RunState.CANCELLED)]
)
def test_a_run_that_was_given_up_is_not_brought_back_by_hand(
    world: World, before: RunState, after: RunState
) -> None:
    """One that had finished is: what is queued again in it has to be made. The rest of a cancelled one stays given up."""
    acme = world.begin(2)
    lease = world.sent(acme)
    settle(world.store, lease, UNCERTAIN)
    if before is RunState.FINISHED:
        world.make(acme)
    world.store.runs.end("r1", before)
    world.store.uncertain.settle_by_hand("r1", lease.task.short_key, made=None)
    assert world.store.views.find_run("r1").state == after
    assert isinstance(grant(world.store, world.ask(acme)), Lease) == (after is RunState.ACTIVE)


@pytest.mark.parametrize(
    ("state", "said"),
    [(RunState.ACTIVE, "queued again; `tesnap resume r1"), (RunState.CANCELLED, "noted as not made; run r1")],
)
def test_what_settle_says_of_a_snapshot_that_was_not_made_is_so(
    sqlite_world: SqliteWorld, state: RunState, said: str
) -> None:
    """A cancelled run cannot be carried on: only a new one makes it, and does."""
    acme, lease = uncertain(sqlite_world)
    sqlite_world.store.runs.end("r1", state)
    sqlite_world.crash(sqlite_world.store)  # the command goes by the machine's own clock
    done = ran("settle", "r1", lease.task.short_key, "not-created", "--store", sqlite_world.url)
    assert (done.code, done.stdout) == (0, "")
    assert said in done.stderr
    sqlite_world.store = sqlite_world.open()
    assert sqlite_world.store.views.find_run("r1").state == state
    assert sqlite_world.begin(1, run="r2") == acme
    assert sqlite_world.store.views.run("r2").total == Counts(queued=1)


def test_failed_tasks_of_a_cancelled_run_do_not_bring_it_back(world: World) -> None:
    """Nor the rest of it."""
    acme = world.begin(2)
    settle(world.store, world.sent(acme), FAILED)
    world.store.runs.end("r1", RunState.CANCELLED)
    assert world.store.runs.retry_failed("r1") == 1
    assert world.store.views.find_run("r1").state == "cancelled"


def test_a_key_has_to_mean_one_uncertain_task(world: World) -> None:
    """Else those that are uncertain are named."""
    _, lease = uncertain(world)
    with pytest.raises(
        UsageError, match=f"no uncertain task begins with 'zz'; uncertain are: {lease.task.short_key}"
    ):
        world.store.uncertain.settle_by_hand("r1", "zz", made=None)


# -- saved events that were there before -------------------------------------------------------------------


def listing(*names: str, at: float = 5.0) -> ListedEvents:
    return ListedEvents(names=frozenset(names), read_at=at)


def plan(world: World, run: str, one: Task, seen: ListedEvents | None, *, again: bool = False) -> Result:
    """Plan one task with this list; what the store then says of it."""
    world.store.runs.start(
        Run(id=run, job="nightly"), [dataclasses.replace(one, saved_events=seen)], again=again
    )
    (result,) = world.store.views.results(run)
    return result


def test_a_plan_keeps_if_a_saved_event_of_the_name_was_there(world: World) -> None:
    """Its own, or that of a resend; without a list nobody knows."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    titles = [task(number, acme).title(resends) for number, resends in ((1, 0), (2, 1))]
    known = listing("another", *titles)
    found = [plan(world, f"r{number}", task(number, acme), known) for number in range(3)]
    assert [(result.listed, result.listed_at) for result in found] == [(False, 5.0), (True, 5.0), (True, 5.0)]
    assert plan(world, "r9", task(9, acme), None).listed is None


def test_the_last_list_before_the_first_grant_counts(world: World) -> None:
    """A later one may have what the request has made in it, also if nothing was sent."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    one = task(1, acme)
    assert plan(world, "r1", one, listing()).listed is False
    later = plan(world, "r2", one, listing(one.title(), at=6.0))
    assert (later.listed, later.listed_at) == (True, 6.0)
    assert plan(world, "r3", one, None).listed is True  # who did not look has nothing to say
    give_back(world.store, world.lease(acme, "r1"))
    after = plan(world, "r4", one, listing(at=7.0))
    assert (after.listed, after.listed_at) == (True, 6.0)


def test_of_a_later_generation_only_the_date_counts(world: World) -> None:
    """A request of the generation before may have been under way when the list was read."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    plan(world, "r1", task(1, acme), listing())
    world.make(acme)
    assert plan(world, "r2", task(1, acme), listing(), again=True).listed is None


def test_with_another_identity_the_list_says_nothing(world: World) -> None:
    """The key, which is in the name, is another one."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    assert plan(world, "r1", task(1, acme), listing()).listed is False
    world.store.organizations.join(BASE_URL, "acme", "77")
    (result,) = world.store.views.results("r1")
    assert result.listed is None


def test_what_may_be_it_is_kept_until_it_is_settled(world: World) -> None:
    """With its date, if it has one."""
    _, lease = uncertain(world)
    event = PossibleEvent(id="777", created_at=12.5)
    world.store.uncertain.conclude(lease, found=None, possible=event)
    (result,) = world.store.views.results("r1")
    assert result.possible_event == event
    made = world.store.uncertain.settle_by_hand("r1", lease.task.short_key, made=Snapshot(id="777"))
    assert made.possible_event is None
