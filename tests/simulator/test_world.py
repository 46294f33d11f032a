"""Worlds are easy to make and survive a file."""

from __future__ import annotations

import pytest

from orchestrator.simulator import World, example_world, known_tenant, world_of
from orchestrator.simulator.world import world_from_json, world_to_json


def test_an_example_world_has_what_was_asked_for() -> None:
    """Ids are unique over all organizations and account groups; one group of each is the default."""
    world = example_world(3, 4, account_groups=2, tokens=2)
    groups = [group for o in world.organizations for group in o.account_groups]
    ids = [test.test_id for group in groups for test in group.tests]
    assert (len(world.organizations), len(groups), len(ids), len(set(ids))) == (3, 6, 24, 24)
    assert [group.default for group in groups] == [True, False] * 3
    assert [bearer.name for bearer in world.bearers[:3]] == ["token-1", "token-1-2", "token-2"]


def test_a_world_survives_its_file() -> None:
    """What is written for another process is what it reads."""
    world = example_world(2, 3, public_is_saved_event=False, clock_offset=600.0)
    assert world_from_json(world_to_json(world)) == world


def test_a_misspelt_key_of_a_world_is_named() -> None:
    """The error says which key, and which there are."""
    with pytest.raises(ValueError, match=r"World has no \['organisations'\]"):
        world_from_json('{"organisations": []}')


def test_a_known_organization_has_what_a_job_file_names() -> None:
    """Ids in their account groups, and tests that its selectors will find."""
    part = known_tenant(
        "acme",
        "secret",
        tests={"1234": ["7", "8", "7"], "": ["9"]},
        test_names=["pay*"],
        types=["page-load", "voice"],
        tags=["team:payments"],
        alerting_since=1000.0,
    )
    world = world_of([part], shows_org_id=False)
    first, second = world.organizations[0].account_groups
    assert (first.aid, [test.test_id for test in first.tests][:2]) == ("1234", ["7", "8"])
    assert [(t.name, t.type) for t in first.tests[2:]] == [("pay", "page-load"), ("pay", "voice")]
    assert first.tags[0].tests == tuple(test.test_id for test in first.tests)
    assert {alert.test_id for alert in first.alerts} == set(first.tags[0].tests)
    assert second.tests[0].test_id == "9"
    assert (first.default, second.default) == (False, True)


def test_a_token_never_shows_in_a_world_that_is_printed() -> None:
    """A failing test prints its world; the token's text is not part of it."""
    part = known_tenant("acme", "very-secret", tests={"1": ["2"]})
    assert "very-secret" not in repr(World(organizations=(part[0],), bearers=(part[1],)))


def test_two_names_of_one_organization_are_one() -> None:
    """Both tokens open it, with the account groups and tests of both."""
    parts = [
        known_tenant("a", "one", org_id="7", tests={"1": ["11"]}),
        known_tenant("b", "two", org_id="7", tests={"1": ["11", "12"], "2": ["21"]}),
    ]
    world = world_of(parts)
    (organization,) = world.organizations
    ids = [[test.test_id for test in group.tests] for group in organization.account_groups]
    assert ids == [["11", "12"], ["21"]]
    assert [group.default for group in organization.account_groups] == [True, False]
    assert [bearer.org_id for bearer in world.bearers] == ["7", "7"]
