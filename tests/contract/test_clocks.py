"""Clocks that are set while tokens are out."""

from __future__ import annotations

import pytest

from orchestrator.bucket import Wait
from orchestrator.model import Reason
from tests.contract.world import LIMIT, TIMEOUT, PostgresWorld, World


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
    world.store.hold_back(identity, LIMIT)
    assert world.wait(identity) == Wait(until=world.store.now() + LIMIT.hold, reason=Reason.OWN_QUOTA)
    world.advance(LIMIT.hold)
    spend(world, identity)


def test_what_has_no_answer_is_held_for_longer_when_the_clock_was_set_forward(world: World) -> None:
    """The server may still act upon it: how much of its time has passed, nobody knows."""
    identity = world.begin(12)
    for _ in range(5):
        world.sent(identity)
    world.advance(1)
    world.store.hold_back(identity, LIMIT)
    out = TIMEOUT + LIMIT.grace + LIMIT.per
    assert world.wait(identity) == Wait(until=world.store.now() + out, reason=Reason.OWN_QUOTA)
