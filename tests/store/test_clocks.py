"""Clocks that are set while tokens are out."""

from __future__ import annotations

import math

import pytest

from orchestrator.core.jobs import Limit, Pace
from orchestrator.core.tasks import Reason, Run
from orchestrator.ratelimit.bucket import Wait
from tests.store.world import LIMIT, TIMEOUT, UNCERTAIN, PostgresWorld, World, created, queued, task
from tests.support.single import give_back, settle


def spend(world: World, identity: str) -> None:
    """Use all five slots at once."""
    for _ in range(5):
        world.make(identity)


@pytest.mark.postgres
def test_a_database_clock_that_was_set_back_does_not_lock_the_organization(postgres_url: str) -> None:
    """What is left of a hold counts from now: an hour back costs one hold, not an hour."""
    world = PostgresWorld(postgres_url)
    identity = world.begin(7)
    spend(world, identity)
    world.step(-3600)
    waiting = world.wait(identity)
    assert waiting == Wait(until=world.store.now() + LIMIT.hold, reason=Reason.OWN_QUOTA)
    world.advance(LIMIT.hold - 1)
    world.wait(identity)
    world.advance(1)
    world.lease(identity)
    world.close()


def test_a_clock_that_was_set_forward_is_made_up_for(world: World) -> None:
    """Whoever saw the step holds all slots back for a full hold, tokens that were never out among them."""
    identity = world.begin(7)
    world.make(identity)
    world.store.organizations.hold_all_tokens(identity, LIMIT)
    assert world.wait(identity) == Wait(until=world.store.now() + LIMIT.hold, reason=Reason.OWN_QUOTA)
    world.advance(LIMIT.hold)
    spend(world, identity)


def test_what_has_no_answer_is_held_for_longer_when_the_clock_was_set_forward(world: World) -> None:
    """The server may still act upon it: how much of its time has passed, nobody knows."""
    identity = world.begin(12)
    for _ in range(5):
        world.sent(identity)
    world.advance(1)
    world.store.organizations.hold_all_tokens(identity, LIMIT)
    out = TIMEOUT + LIMIT.grace + LIMIT.per
    assert world.wait(identity) == Wait(until=world.store.now() + out, reason=Reason.OWN_QUOTA)


def test_a_token_that_was_granted_too_early_is_held_for_as_long_as_one_without_an_answer(
    world: World,
) -> None:
    """It was given back at once, but its earlier request, without an answer, may still be carried out."""
    identity = world.begin(12)
    for _ in range(5):
        world.make(identity)
    world.advance(LIMIT.hold)
    give_back(world.store, world.lease(identity))
    world.store.organizations.hold_all_tokens(identity, LIMIT, timeout=TIMEOUT)
    out = TIMEOUT + LIMIT.grace + LIMIT.per
    held = sorted(
        token.returns_at - world.store.now() for token in world.store.organizations.bucket(identity).tokens
    )
    assert held == [LIMIT.hold] * 4 + [out]


def test_what_the_clock_gains_while_tokens_are_held_is_added_to_their_time(world: World) -> None:
    """However often; what was answered and what was not are out for as long as they were to be, and no longer."""
    identity = world.begin(12)
    start = world.store.now()
    for _ in range(3):
        world.make(identity)
    world.sent(identity)
    world.store.organizations.hold_all_tokens(identity, LIMIT, timeout=TIMEOUT)
    for _ in range(3):
        world.advance(50)
        world.store.organizations.hold_all_tokens(identity, LIMIT, timeout=TIMEOUT, gained=0.5)
    held = sorted(token.returns_at - start for token in world.store.organizations.bucket(identity).tokens)
    assert held == [LIMIT.hold + 1.5] * 4 + [TIMEOUT + LIMIT.grace + LIMIT.per + 1.5]


def test_an_answer_after_the_clock_was_made_up_for_counts_from_itself(world: World) -> None:
    """By whatever process: what the clock gains later is added to its time, too."""
    identity = world.begin(12)
    lease = world.sent(identity)
    world.store.organizations.hold_all_tokens(identity, LIMIT, timeout=TIMEOUT)
    world.advance(50)
    settle(world.open(), lease, created(lease))
    answered = world.store.now()
    world.advance(50)
    world.store.organizations.hold_all_tokens(identity, LIMIT, timeout=TIMEOUT, gained=0.5)
    returns = [token.returns_at for token in world.store.organizations.bucket(identity).tokens]
    assert returns == [answered + LIMIT.hold + 0.5] + [answered - 50 + LIMIT.hold + 0.5] * 4


def test_however_much_the_clock_gains_a_whole_hold_from_now_is_enough(world: World) -> None:
    """A step of a day, seen by several processes, does not keep the slots away for days."""
    identity = world.begin(12)
    spend(world, identity)
    world.store.organizations.hold_all_tokens(identity, LIMIT)
    for _ in range(2):
        world.advance(10)
        world.store.organizations.hold_all_tokens(identity, LIMIT, gained=DAY)
    assert world.wait(identity) == Wait(until=world.store.now() + LIMIT.hold, reason=Reason.OWN_QUOTA)


DAY = 86400.0
EVEN = Limit(pace=Pace.EVEN)


@pytest.fixture
def set_back(postgres_world: PostgresWorld) -> tuple[PostgresWorld, str]:
    """A task that is tried again 2 s later and one that is uncertain; then the clock is set back by a day."""
    identity = postgres_world.begin(3)
    settle(postgres_world.store, postgres_world.sent(identity), queued(retry_in=2.0))
    postgres_world.advance(1)
    settle(postgres_world.store, postgres_world.sent(identity), UNCERTAIN)
    postgres_world.make(identity)
    postgres_world.step(-DAY)
    return postgres_world, identity


@pytest.mark.postgres
@pytest.mark.parametrize("recover", [False, True])
def test_a_backoff_goes_on_after_a_clock_was_set_back(
    set_back: tuple[PostgresWorld, str], *, recover: bool
) -> None:
    """With what was left of it, whoever looks first; `within` counts on, too."""
    world, identity = set_back
    if recover:
        world.store.queue.recover()
    assert world.wait(identity) == Wait(until=world.store.now() + 1, reason=Reason.BACKOFF)
    world.advance(1)
    again = world.lease(identity)
    assert (again.tries, again.first_sent_at) == (1, world.store.now() - 2)


@pytest.mark.postgres
@pytest.mark.parametrize("looked_before", [False, True])
def test_evidence_is_looked_for_after_a_clock_was_set_back(
    set_back: tuple[PostgresWorld, str], *, looked_before: bool
) -> None:
    """When the request can no longer be carried out, and not a day later."""
    world, _ = set_back
    world.store.queue.recover()
    world.advance(TIMEOUT + LIMIT.grace - 1)
    assert world.store.uncertain.due("r1") == []
    world.advance(1)
    ((lease, _),) = world.store.uncertain.due("r1")
    if looked_before:  # carried on with much later, and set back once more
        world.store.uncertain.conclude(lease, found=None)
        world.advance(DAY)
        world.store.runs.look_again("r1")
        world.step(-DAY / 2)
        world.store.queue.recover()
        assert [found.task for found, _ in world.store.uncertain.due("r1")] == [lease.task]


@pytest.mark.postgres
def test_an_even_pace_goes_on_after_a_clock_was_set_back(set_back: tuple[PostgresWorld, str]) -> None:
    """One share of the period after now, not after the last grant."""
    world, identity = set_back
    world.store.runs.start(Run(id="r2", job="nightly"), [task(50, identity)])
    waiting = world.wait(identity, "r2", limit=EVEN)
    assert waiting == Wait(until=world.store.now() + EVEN.hold / EVEN.usable, reason=Reason.OWN_QUOTA)


def test_a_window_that_ends_in_an_instant_is_waited_for(world: World) -> None:
    """However little is left of it: a large time of the store cannot tell it from nothing."""
    end = 1_795_003_600.0
    identity = world.begin(1, ready_at=end)
    for _ in range(4):
        world.advance(math.ulp(end))
        waiting = world.wait(identity, epoch=math.nextafter(end, 0.0))
        assert waiting.reason is Reason.WINDOW_NOT_OVER
    world.lease(identity, epoch=end)


def test_machines_are_noted_beside_a_clock_that_is_not_their_own(world: World) -> None:
    """With SQLite the store's time is the machine's: there is nothing to be compared, and nothing is written."""
    world.store.clocks.note(world.clock)
    noted = [one.boot_id for one in world.store.clocks.noted()]
    assert noted == ([world.clock.boot_id()] if isinstance(world, PostgresWorld) else [])
