"""Views over all runs together."""

from __future__ import annotations

from tests.store.world import World


def test_every_snapshot_is_listed_once_the_latest_first(world: World) -> None:
    """With the run that made it, also when a second run refers to it."""
    identity = world.begin(4)
    for _ in range(3):
        world.make(identity)
        world.advance(1)
    world.begin(4, run="r2")
    found = list(world.store.views.snapshots())
    assert [(run, result.task.test_id) for run, result in found] == [("r1", "2"), ("r1", "1"), ("r1", "0")]
    latest = found[0][1].settled_wall
    assert [run for run, _ in world.store.views.snapshots(settled_since=latest)] == ["r1"]


def test_the_settings_of_the_last_grant_can_be_looked_at(world: World) -> None:
    """What `status` shows of a run in another process."""
    identity = world.begin(2)
    assert world.store.organizations.bucket(identity).last_limit is None
    lease = world.make(identity)
    assert world.store.organizations.bucket(identity).last_limit == lease.limit
