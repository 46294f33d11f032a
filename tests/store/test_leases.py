"""A task's life: fences, crashes, uncertain tasks and what is known of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.core.errors import LeaseLost
from orchestrator.core.jobs import Priority
from orchestrator.core.tasks import Counts, Lease, Problem, Run, RunState, Settlement, Snapshot, Status
from orchestrator.store.store import Store
from tests.store.world import LIMIT, TIMEOUT, UNCERTAIN, World, created, queued
from tests.support.single import give_back, mark_sending, settle


def test_sending_is_committed_with_its_time(world: World) -> None:
    """Once for a task: later attempts keep the first byte's time."""
    acme = world.begin(1)
    start = world.store.now()
    lease = world.sent(acme)
    assert world.open().views.run("r1").total == Counts(sending=1)
    settle(world.store, lease, queued(retry_in=5.0, http_status=503))
    world.advance(5)
    again = world.sent(acme)
    assert (again.tries, again.first_sent_at) == (1, start)
    assert [result.sent_wall for result in world.store.views.results("r1")] == [world.store.epoch()]


def test_a_settlement_is_stored_whole(world: World) -> None:
    """Snapshot, problem, status, wall times and the duplicate flag, as they were given."""
    acme = world.begin(1)
    lease = world.sent(acme)
    problem = Problem(title="odd", detail="very", fields=(("startDate", "too early"),))
    settle(world.store, lease, queued(problem=problem, http_status=502, duplicate_possible=True))
    waiting = next(world.open().views.results("r1"))
    assert (waiting.problem, waiting.http_status, waiting.attempts) == (problem, 502, 1)
    lease = world.sent(acme)
    assert lease.duplicate_possible
    world.advance(2)
    settle(world.store, lease, created(lease))
    done = next(world.open().views.results("r1"))
    assert (done.status, done.snapshot, done.attempts) == (Status.CREATED, created(lease).snapshot, 2)
    assert (done.duplicate_possible, done.problem, done.settled_wall) == (True, None, world.store.epoch())
    assert done.final


ENDINGS: list[Callable[[Store, Lease], object]] = [
    mark_sending,
    lambda store, lease: settle(store, lease, created(lease)),
    give_back,
    lambda store, lease: store.uncertain.conclude(lease, found=None),
]


@pytest.mark.parametrize("end", ENDINGS, ids=["sending", "settle", "give_back", "conclude"])
def test_a_lost_lease_changes_nothing(world: World, end: Callable[[Store, Lease], object]) -> None:
    """Once given back and granted again, the old lease is nobody's."""
    acme = world.begin(1)
    lost = world.lease(acme)
    give_back(world.store, lost)
    world.lease(acme)
    before = (
        world.store.organizations.bucket(acme),
        list(world.store.views.results("r1")),
        world.store.views.versions("r1"),
    )
    with pytest.raises(LeaseLost):
        end(world.store, lost)
    assert (
        world.store.organizations.bucket(acme),
        list(world.store.views.results("r1")),
        world.store.views.versions("r1"),
    ) == before


def test_a_lease_ends_once(world: World) -> None:
    """A second settlement is refused."""
    acme = world.begin(1)
    lease = world.make(acme)
    with pytest.raises(LeaseLost):
        settle(world.store, lease, created(lease))


def test_what_a_dead_process_had_leased_is_queued_again(world: World) -> None:
    """Nothing was sent: the token is in, and it was no attempt."""
    acme = world.begin(1)
    other = world.open()
    lease = world.lease(acme, store=other)
    assert world.store.queue.recover() == 0
    world.crash(other)
    assert world.store.queue.recover() == 1
    assert world.store.queue.recover() == 0
    again = world.lease(acme)
    assert (again.task, again.tries, again.token) == (lease.task, 0, lease.token)


def test_what_a_dead_process_was_sending_is_uncertain(world: World) -> None:
    """The token stays out, and evidence may be looked for when the request can no longer be carried out."""
    acme = world.begin(1)
    other = world.open()
    lease = world.sent(acme, store=other)
    world.crash(other)
    assert world.store.queue.recover() == 1
    result = next(world.store.views.results("r1"))
    assert (result.status, result.attempts, result.final) == (Status.UNCERTAIN, 1, False)
    assert result.evidence_due == lease.granted_at + TIMEOUT + LIMIT.grace
    assert result.problem is not None
    assert world.store.uncertain.due("r1") == []
    world.advance(TIMEOUT + LIMIT.grace)
    (found, _), *_ = world.store.uncertain.due("r1")
    assert (found.task, found.owner, found.attempt, found.limit) == (
        lease.task,
        lease.owner,
        lease.attempt,
        LIMIT,
    )


def taken_over(world: World) -> tuple[str, Lease]:
    """A task whose sending process is taken for dead and has an answer in its hands all the same."""
    acme = world.begin(1)
    other = world.open()
    lease = world.sent(acme, store=other)
    world.crash(other)
    assert world.store.queue.recover() == 1
    world.advance(TIMEOUT + LIMIT.grace)
    return acme, lease


@pytest.mark.parametrize("looked", [False, True])
def test_an_answer_settles_what_was_taken_over_meanwhile(world: World, *, looked: bool) -> None:
    """As long as nobody has decided otherwise: it was one attempt, and its token comes back after the answer."""
    acme, lease = taken_over(world)
    if looked:
        world.store.uncertain.conclude(lease, found=None)
        world.store.runs.end("r1", RunState.FINISHED)
    settle(world.store, lease, created(lease))
    (result,) = world.store.views.results("r1")
    assert world.store.views.find_run("r1").state == (RunState.FINISHED if looked else RunState.ACTIVE)
    assert (result.status, result.attempts, result.final) == (Status.CREATED, 1, True)
    assert (result.snapshot, result.problem) == (created(lease).snapshot, None)
    assert [token.returns_at for token in world.store.organizations.bucket(acme).tokens] == [
        world.store.now() + LIMIT.hold
    ]
    with pytest.raises(LeaseLost):
        settle(world.store, lease, created(lease))


def test_a_refusal_queues_what_was_taken_over_meanwhile(world: World) -> None:
    """Nothing was made; whoever has finished the run meanwhile is not to leave it behind."""
    acme, lease = taken_over(world)
    world.store.uncertain.conclude(lease, found=None)
    world.store.runs.end("r1", RunState.FINISHED)
    settle(world.store, lease, queued(answered=True, counts=False, http_status=429))
    (result,) = world.store.views.results("r1")
    assert (result.status, result.attempts, result.evidence_due) == (Status.QUEUED, 0, None)
    assert (world.store.views.find_run("r1").state, world.store.uncertain.due("r1")) == ("active", [])
    assert world.lease(acme).attempt == lease.attempt + 1


@pytest.mark.parametrize("settlement", [UNCERTAIN, queued(http_status=503)], ids=["uncertain", "503"])
def test_without_an_answer_what_was_taken_over_stays_as_it_is(world: World, settlement: Settlement) -> None:
    """Nothing new is known."""
    _, lease = taken_over(world)
    with pytest.raises(LeaseLost):
        settle(world.store, lease, settlement)
    assert world.states() == [Status.UNCERTAIN]


def test_an_answer_comes_too_late_for_what_was_sent_once_more(world: World) -> None:
    """That has a life of its own by then."""
    _, lease = taken_over(world)
    world.store.uncertain.conclude(lease, found=None, resend=True)
    with pytest.raises(LeaseLost):
        settle(world.store, lease, created(lease))
    assert world.states() == [Status.QUEUED]


def test_leases_left_at_the_end_of_a_process_are_recovered(world: World) -> None:
    """Closing the store gives up ownership."""
    acme = world.begin(2)
    other = world.open()
    world.lease(acme, store=other)
    world.lease(acme)
    world.end(other)
    assert world.store.queue.recover() == 1
    assert world.store.views.run("r1").total == Counts(queued=1, leased=1)


def uncertain(world: World) -> tuple[str, Lease]:
    acme = world.begin(1)
    settle(world.store, world.sent(acme), UNCERTAIN)
    world.advance(TIMEOUT + LIMIT.grace)
    ((lease, _),) = world.store.uncertain.due("r1")
    return acme, lease


def test_found_evidence_makes_a_task_created(world: World) -> None:
    """By the run whose attempt it was, saying how it was found."""
    _, lease = uncertain(world)
    world.store.uncertain.conclude(lease, found=Snapshot(id="55", saved_event=True), how="saved_event")
    result = next(world.store.views.results("r1"))
    assert (result.status, result.found, result.made_here, result.final) == (
        Status.CREATED,
        "saved_event",
        True,
        True,
    )
    assert result.snapshot == Snapshot(id="55", saved_event=True)
    assert world.store.uncertain.due("r1") == []


def test_without_evidence_a_task_stays_uncertain_for_good(world: World) -> None:
    """Its record may be printed: it is seen as settled anew."""
    _, lease = uncertain(world)
    now = world.store.now()
    world.store.uncertain.conclude(lease, found=None)
    (result,) = world.store.views.results("r1", settled_since=now)
    assert (result.status, result.final) == (Status.UNCERTAIN, True)


def test_a_task_is_sent_once_more_by_policy(world: World) -> None:
    """Flagged as a possible duplicate, with the number of the resend."""
    acme, lease = uncertain(world)
    world.store.runs.end("r1", RunState.FINISHED)  # by another process, which did not wait for the evidence
    assert world.store.uncertain.conclude(lease, found=None, resend=True)
    again = world.lease(acme)
    assert (again.resends, again.duplicate_possible, again.task) == (1, True, lease.task)


def test_nothing_is_sent_once_more_in_a_run_that_was_cancelled(world: World) -> None:
    """Nobody would send it: it stays uncertain for good, and can be settled by hand."""
    _, lease = uncertain(world)
    world.store.runs.end("r1", RunState.CANCELLED)
    now = world.store.now()
    assert not world.store.uncertain.conclude(lease, found=None, resend=True)
    (result,) = world.store.views.results("r1", settled_since=now)
    assert (result.status, result.final, result.resends) == (Status.UNCERTAIN, True, 0)
    assert world.store.uncertain.settle_by_hand("r1", lease.task.short_key, made=None).status is Status.QUEUED


def test_another_run_sends_once_more_what_a_cancelled_one_lost(world: World) -> None:
    """What counts is the run that has looked, not the one that had sent."""
    acme, _ = uncertain(world)
    world.store.runs.end("r1", RunState.CANCELLED)
    world.store.runs.start(Run(id="r2", job="nightly"), world.tasks(1, acme))
    ((lease, _),) = world.store.uncertain.due("r2")
    assert world.store.uncertain.conclude(lease, found=None, resend=True)
    assert world.lease(acme, "r2").resends == 1
    assert world.store.views.find_run("r1").state is RunState.CANCELLED


def test_evidence_is_concluded_once(world: World) -> None:
    """Two processes that looked at the same time do not both write."""
    _, lease = uncertain(world)
    world.store.uncertain.conclude(lease, found=Snapshot(id="55"))
    with pytest.raises(LeaseLost):
        world.open().uncertain.conclude(lease, found=None, resend=True)


def test_known_snapshots_are_those_of_the_organization(world: World) -> None:
    """Both ids of each: the snapshot's and its saved event's."""
    acme, listed = world.begin(2), ["e0", "s0", "e1"]
    world.make(acme)
    assert world.store.uncertain.known_snapshots(acme, listed) == {"s0", "e0"}
    assert world.store.uncertain.known_snapshots(acme, ["e1"]) == frozenset()
    assert world.store.uncertain.known_snapshots(acme, []) == frozenset()
    assert world.store.uncertain.known_snapshots("https://nobody#name=x", listed) == frozenset()


def test_every_change_of_a_token_or_of_what_waits_changes_the_version(world: World) -> None:
    """So that a waiting process looks only when there is something to see; a first byte changes nothing for it."""
    acme = world.begin(1)
    seen = [world.store.views.versions("r1")[acme]]
    steps: list[Callable[[Lease], object]] = [
        lambda lease: settle(world.store, lease, Settlement(status=Status.UNCERTAIN, answered=True)),
        lambda lease: world.store.uncertain.conclude(lease, found=None),
    ]
    lease = world.sent(acme)
    seen.append(world.store.views.versions("r1")[acme])
    for step in steps:
        step(lease)
        seen.append(world.store.views.versions("r1")[acme])
    assert len(set(seen)) == len(seen)


def test_a_lease_carries_what_the_asker_said(world: World) -> None:
    """Its own boot clock, the granting run's limit and timeout."""
    acme = world.begin(1, priority=Priority.INCIDENT, test_name="Checkout", expect_saved_event=True)
    lease = world.lease(acme, timeout=7.0, boot=42.5)
    assert (lease.granted_boot, lease.timeout, lease.limit, lease.run_id) == (42.5, 7.0, LIMIT, "r1")
    assert lease.granted_at == world.store.now()
    assert (lease.task.priority, lease.task.test_name) == (Priority.INCIDENT, "Checkout")
    assert lease.task.expect_saved_event is True
