"""Tokens: five are out at most, each until one hold after its answer, and longer without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.jobs import Pace
from orchestrator.core.tasks import Lease, Reason, Run, RunState, Status
from orchestrator.ratelimit.bucket import Wait
from tests.store.world import FAILED, LIMIT, TIMEOUT, UNCERTAIN, World, created, queued
from tests.support.single import give_back, grant, settle

PESSIMISTIC = TIMEOUT + LIMIT.grace + LIMIT.per


def test_five_grants_then_a_wait_until_the_first_token_returns(world: World) -> None:
    """The sixth asker is told the exact store time."""
    acme = world.begin()
    start = world.store.now()
    for _ in range(5):
        world.lease(acme)
        world.advance(1)
    assert world.wait(acme) == Wait(until=start + PESSIMISTIC, reason=Reason.OWN_QUOTA)


def test_a_returned_token_is_granted_at_that_moment_and_not_before(world: World) -> None:
    """One hold after the answer, to the float."""
    acme = world.begin()
    for _ in range(5):
        world.make(acme)
    wait = world.wait(acme)
    assert wait.until == world.store.now() + LIMIT.hold
    world.advance(LIMIT.hold - 0.5)
    world.wait(acme)
    world.advance(0.5)
    world.lease(acme)


def test_the_pessimistic_return_is_durable_before_anything_is_sent(world: World) -> None:
    """A process that dies right after its grant leaves the token out."""
    acme = world.begin()
    other = world.open()
    world.lease(acme, store=other)
    world.crash(other)
    assert [token.returns_at for token in world.open().organizations.bucket(acme).tokens] == [
        world.store.now() + PESSIMISTIC
    ]


@pytest.mark.parametrize("settlement", [UNCERTAIN, queued(retry_in=5.0)], ids=["uncertain", "5xx"])
def test_without_an_answer_the_pessimistic_return_stays(world: World, settlement: object) -> None:
    """A gateway's 5xx and a lost answer prove nothing about when the server counted."""
    acme = world.begin()
    start = world.store.now()
    lease = world.sent(acme)
    world.advance(3)
    settle(world.store, lease, settlement)  # type: ignore[arg-type] # a parameter
    assert [token.returns_at for token in world.store.organizations.bucket(acme).tokens] == [
        start + PESSIMISTIC
    ]


def test_an_answer_brings_the_token_back_one_hold_from_now(world: World) -> None:
    """Whatever the answer says: a 400 counts as a request, too."""
    acme = world.begin()
    lease = world.sent(acme)
    world.advance(3)
    settle(world.store, lease, FAILED)
    assert [token.returns_at for token in world.store.organizations.bucket(acme).tokens] == [
        world.store.now() + LIMIT.hold
    ]


def test_only_the_lease_that_holds_a_token_changes_its_return(world: World) -> None:
    """An answer that comes after the token went to somebody else moves nothing."""
    acme = world.begin()
    late = world.sent(acme, store=(slow := world.open()))
    for _ in range(4):
        world.sent(acme)
    world.advance(PESSIMISTIC)
    taken = world.lease(acme)
    assert taken.token == late.token
    settle(slow, late, created(late))
    tokens = {token.number: token.returns_at for token in world.store.organizations.bucket(acme).tokens}
    assert tokens[late.token] == taken.granted_at + PESSIMISTIC
    assert world.states()[0] is Status.CREATED


def test_a_lease_given_back_frees_its_token_at_once(world: World) -> None:
    """Nothing was sent: the task is queued, no attempt is counted, the next asker gets both."""
    acme = world.begin(1)
    first = world.lease(acme)
    give_back(world.store, first)
    again = world.lease(acme)
    assert (again.task, again.tries, again.first_sent_at) == (first.task, 0, None)
    assert again.attempt > first.attempt


def test_another_attempt_waits_for_its_time(world: World) -> None:
    """The task is not due before the wait is over."""
    acme = world.begin(1)
    settle(world.store, world.sent(acme), queued(retry_in=7.0))
    assert world.wait(acme) == Wait(until=world.store.now() + 7, reason=Reason.BACKOFF)
    world.advance(7)
    world.lease(acme)


def test_a_backoff_is_not_cut_short_by_the_grant_of_another_task(world: World) -> None:
    """A task that waits is passed over, and has its place in the plan again afterwards."""
    acme = world.begin(3)
    settle(world.store, world.sent(acme), queued(retry_in=7.0))
    assert world.lease(acme).task.position == 1
    world.advance(7)
    assert world.lease(acme).task.position == 0


def test_a_lease_whose_token_went_on_gives_only_the_task_back(world: World) -> None:
    """A token that somebody else holds by now stays out."""
    acme = world.begin()
    late = world.lease(acme)
    for _ in range(4):
        world.lease(acme)
    world.advance(PESSIMISTIC)
    assert world.lease(acme).token == late.token
    give_back(world.store, late)
    out = [
        token.number
        for token in world.store.organizations.bucket(acme).tokens
        if token.returns_at > world.store.now()
    ]
    assert out == [late.token]


def test_a_smaller_use_takes_the_lower_numbers(world: World) -> None:
    """The slots that are left to others are the higher ones, whoever asks."""
    acme = world.begin()
    two = replace(LIMIT, use=2)
    assert [world.lease(acme, limit=two).token for _ in range(2)] == [1, 2]
    assert isinstance(grant(world.store, world.ask(acme, limit=two)), Wait)
    assert world.lease(acme).token == 3


def test_an_even_pace_spreads_the_grants(world: World) -> None:
    """The next grant comes one share of the hold after the last one."""
    acme = world.begin()
    even = replace(LIMIT, pace=Pace.EVEN)
    world.lease(acme, limit=even)
    assert world.wait(acme, limit=even).until == world.store.now() + LIMIT.hold / 5


def test_the_outlook_says_what_a_grant_would_and_changes_nothing(world: World) -> None:
    """Asking for the outlook takes no token and no number."""
    acme = world.begin()
    before = world.store.views.versions("r1")
    assert world.store.queue.outlook([world.ask(acme)]) == [None]
    assert world.store.views.versions("r1") == before
    for _ in range(5):
        world.lease(acme)
    assert world.store.queue.outlook([world.ask(acme)]) == [world.wait(acme)]


def test_buckets_of_two_organizations_are_apart(world: World) -> None:
    """One organization's quota says nothing about another's."""
    acme = world.begin()
    globex = world.store.organizations.join("https://api.example.com/v7", "globex", "9")
    assert globex != acme
    for _ in range(5):
        world.lease(acme)
    assert world.store.organizations.bucket(globex).tokens == ()


def test_the_first_task_in_the_plan_goes_first(world: World) -> None:
    """Of the tasks that are due, by position."""
    acme = world.begin(3)
    assert [world.lease(acme).task.position for _ in range(3)] == [0, 1, 2]


def test_a_task_becomes_due_when_its_window_is_over(world: World) -> None:
    """By the API's calendar, which the asking process knows; then it has its place in the plan again."""
    acme = world.begin(0)
    soon = world.store.epoch() + 100
    tasks = world.tasks(3, acme)
    world.store.runs.start(Run(id="r2", job="nightly"), [replace(tasks[0], ready_at=soon), *tasks[1:]])
    assert world.lease(acme, "r2").task.position == 1
    world.advance(100)
    assert world.lease(acme, "r2").task.position == 0


def test_waiting_for_a_window_is_said_with_its_store_time(world: World) -> None:
    """The calendar's seconds, counted from now."""
    acme = world.begin(1, ready_at=world.store.epoch() + 40)
    assert world.wait(acme) == Wait(until=world.store.now() + 40, reason=Reason.WINDOW_NOT_OVER)
    assert isinstance(grant(world.store, world.ask(acme, epoch=world.store.epoch() + 41)), Lease)


def test_nothing_left_is_none_and_what_others_hold_is_a_wait(world: World) -> None:
    """A task that is being sent is left; a settled one is not."""
    acme = world.begin(1)
    lease = world.sent(acme)
    assert world.wait(acme) == Wait(until=None, reason=Reason.OTHER_RUN)
    settle(world.store, lease, created(lease))
    assert grant(world.store, world.ask(acme)) is None
    assert grant(world.store, world.ask("https://nobody#name=x")) is None


def test_refused_kinds_are_left_out(world: World) -> None:
    """A process without the permission passes these tasks over; with nothing else left there is nothing to do."""
    acme = world.begin(2)
    assert grant(world.store, world.ask(acme, without=frozenset({("1", False)}))) is None
    assert world.lease(acme, without=frozenset({("1", True), ("2", False)})).task.position == 0


def test_a_cancelled_run_is_granted_nothing(world: World) -> None:
    """What it has not sent is given up."""
    acme = world.begin(2)
    world.store.runs.end("r1", RunState.CANCELLED)
    assert grant(world.store, world.ask(acme)) is None
    world.store.runs.end("r1", RunState.ACTIVE)
    world.lease(acme)
