"""The gate: a 429 closes it for all processes, one probe opens it."""

from __future__ import annotations

import pytest

from orchestrator.core.tasks import Closing, Lease, Reason
from orchestrator.ratelimit.bucket import Wait
from tests.store.world import FAILED, LIMIT, TIMEOUT, UNCERTAIN, World, created, queued
from tests.support.single import give_back, settle

REFUSED = queued(answered=True, counts=False, http_status=429, closing=Closing())


def close(world: World, acme: str) -> Lease:
    lease = world.sent(acme)
    settle(world.store, lease, REFUSED)
    return lease


def test_a_429_closes_the_gate_for_every_process(world: World) -> None:
    """For one period, although four tokens are in."""
    acme = world.begin()
    close(world, acme)
    until = world.store.now() + LIMIT.per
    assert world.wait(acme, store=world.open()) == Wait(until=until, reason=Reason.FOREIGN_QUOTA)


def test_jitter_lengthens_the_closing(world: World) -> None:
    """By up to five percent."""
    acme = world.begin()
    settle(world.store, world.sent(acme), REFUSED, jitter=0.5)
    gate = world.store.organizations.bucket(acme).gate
    assert gate is not None
    assert gate.until == pytest.approx(world.store.now() + LIMIT.per * 1.025)


def test_one_probe_and_all_others_wait_for_it(world: World) -> None:
    """The right to probe is a lease like any other."""
    acme = world.begin()
    close(world, acme)
    world.advance(LIMIT.per + 1)
    probe = world.lease(acme)
    assert probe.probe
    assert world.wait(acme, store=world.open()) == Wait(until=None, reason=Reason.FOREIGN_QUOTA)


@pytest.mark.parametrize("answer", [created, lambda _: FAILED], ids=["created", "400"])
def test_an_answered_probe_opens_the_gate(world: World, answer: object) -> None:
    """Any answer but a 429 says that the quota is there."""
    acme = world.begin()
    close(world, acme)
    world.advance(LIMIT.per + 1)
    probe = world.sent(acme)
    settle(world.store, probe, answer(probe))  # type: ignore[operator] # a parameter
    assert world.store.organizations.bucket(acme).gate is None
    assert not world.lease(acme).probe


def test_an_unanswered_probe_leaves_the_right_to_the_next(world: World) -> None:
    """No answer says nothing about the quota."""
    acme = world.begin()
    close(world, acme)
    world.advance(LIMIT.per + 1)
    settle(world.store, world.sent(acme), UNCERTAIN)
    assert world.lease(acme).probe


def test_a_probe_given_back_leaves_the_right_to_the_next(world: World) -> None:
    """Nothing was sent, so nothing is known."""
    acme = world.begin()
    close(world, acme)
    world.advance(LIMIT.per + 1)
    give_back(world.store, world.lease(acme))
    assert world.lease(acme).probe


def test_a_dead_prober_leaves_the_right_to_the_next(world: World) -> None:
    """Whether it had sent or not."""
    acme = world.begin()
    close(world, acme)
    world.advance(LIMIT.per + 1)
    other = world.open()
    world.sent(acme, store=other)
    world.crash(other)
    assert world.store.queue.recover() == 1
    assert world.lease(acme).probe


def test_a_prober_that_hangs_leaves_the_right_to_the_next(world: World) -> None:
    """Alive but stopped, it is not recovered: its right lapses when its request can no longer be carried out."""
    acme = world.begin()
    close(world, acme)
    world.advance(LIMIT.per + 1)
    other = world.open()
    hung = world.sent(acme, store=other)
    world.advance(TIMEOUT + LIMIT.grace - 1)
    assert world.store.queue.recover() == 0
    assert world.wait(acme) == Wait(until=None, reason=Reason.FOREIGN_QUOTA)
    world.advance(1)
    probe = world.sent(acme)
    assert probe.probe
    settle(other, hung, created(hung))
    assert world.wait(acme).reason is Reason.FOREIGN_QUOTA
    settle(world.store, probe, created(probe))
    assert world.store.organizations.bucket(acme).gate is None


def test_a_refused_probe_closes_again_and_the_third_closing_doubles(world: World) -> None:
    """Closings in a row are counted: one, one, two periods."""
    acme = world.begin()
    waits = []
    for _ in range(3):
        close(world, acme)
        until = world.wait(acme).until
        assert until is not None
        waits.append(until - world.store.now())
        world.advance(waits[-1])
    assert waits == [LIMIT.per, LIMIT.per, 2 * LIMIT.per]


def test_a_429_to_a_request_granted_before_the_closing_changes_nothing(world: World) -> None:
    """Closings are counted, not answers."""
    acme = world.begin()
    older = world.sent(acme)
    world.advance(2)
    close(world, acme)
    gate = world.store.organizations.bucket(acme).gate
    world.advance(2)
    settle(world.store, older, REFUSED)
    assert world.store.organizations.bucket(acme).gate == gate


def test_a_late_answer_to_an_older_request_does_not_open_the_gate(world: World) -> None:
    """Only the probe does."""
    acme = world.begin()
    older = world.sent(acme)
    close(world, acme)
    settle(world.store, older, created(older))
    assert world.store.organizations.bucket(acme).gate is not None


def test_a_given_time_replaces_the_period_without_doubling(world: World) -> None:
    """`Retry-After`, and the reset of the general limit."""
    acme = world.begin()
    for _ in range(4):
        exact = queued(answered=True, counts=False, closing=Closing(seconds=20.0, doubles=False))
        settle(world.store, world.sent(acme), exact)
        assert world.wait(acme).until == world.store.now() + 20
        world.advance(20)


def test_a_429_counts_neither_as_an_attempt_nor_towards_the_time_within(world: World) -> None:
    """The first byte of a task that was only refused is still to come."""
    acme = world.begin(1)
    close(world, acme)
    world.advance(LIMIT.per + 1)
    again = world.lease(acme)
    assert (again.tries, again.first_sent_at) == (0, None)


def test_a_closing_between_two_attempts_is_taken_off_the_time_within(world: World) -> None:
    """The first byte moves forward by as long as the gate is closed."""
    acme = world.begin(1)
    first = world.store.now()
    settle(world.store, world.sent(acme), queued())
    world.advance(10)
    close(world, acme)
    world.advance(LIMIT.per)
    again = world.lease(acme)
    assert (again.tries, again.first_sent_at) == (1, first + LIMIT.per)
