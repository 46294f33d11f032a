"""Views of what a run in another process is at."""

from __future__ import annotations

from tests.store.world import World


def test_the_settings_of_the_last_grant_can_be_looked_at(world: World) -> None:
    """What `status` shows of a run in another process."""
    identity = world.begin(2)
    assert world.store.organizations.bucket(identity).last_limit is None
    lease = world.make(identity)
    assert world.store.organizations.bucket(identity).last_limit == lease.limit
