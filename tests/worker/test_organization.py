"""Organizations, as one process serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import pytest

from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Reason
from orchestrator.store.store import Store
from orchestrator.worker.organization import (
    REFUSALS,
    ApiCalendar,
    Refusals,
    ServedOrganization,
    ServedOrganizations,
)
from tests.support.clock import VirtualClock
from tests.support.reports import task


def named(name: str, *, offset: float = 0.0, use: int = 5, refused: bool = False) -> ServedOrganization:
    served = ServedOrganization(
        identity="acme", name=name, limit=Limit(use=use), timeout=60.0, calendar=ApiCalendar(offset=offset)
    )
    if refused:
        served.stop(Reason.TOKEN_REFUSED, "401")
    return served


def merge(one: ServedOrganization, other: ServedOrganization) -> ServedOrganization:
    """The first, once it has taken in the other."""
    one.merge(other)
    return one


@pytest.mark.parametrize("refused", ["east", "west"])
def test_one_usable_token_is_enough(refused: str) -> None:
    """And what its answers said of the API's clock holds for both."""
    one, other = (
        named(name, refused=name == refused, offset=0.0 if name == refused else -600.0)
        for name in ("east", "west")
    )
    both = merge(one, other)
    assert (both.stopped, both.calendar.offset, both.name) == (None, -600.0, "east+west")


def test_the_more_cautious_settings_hold() -> None:
    """Whichever name they were written for."""
    assert merge(named("east"), named("west", use=2)).limit.usable == 2
    assert merge(named("east", use=2), named("west")).limit.usable == 2


def test_two_refused_tokens_are_refused() -> None:
    """Nothing can be sent."""
    assert merge(named("east", refused=True), named("west", refused=True)).stopped is Reason.TOKEN_REFUSED


def test_three_refusals_without_a_success_are_final_for_their_kind() -> None:
    """Of another account group they say nothing."""
    refusals = Refusals()
    one, other = task(1, account_group="1"), task(2, account_group="2")
    added = [refusals.add(each, left=9) for each in (one, one, other, one, one)]
    assert added == [False, False, False, True, False]
    assert refusals.final == {("1", False)}


@pytest.mark.parametrize("left", [1, 2])
def test_as_many_refusals_as_there_are_tasks_are_final(left: int) -> None:
    """A run of one or two can never bring three."""
    refusals = Refusals()
    added = [refusals.add(task(number, account_group="1"), left) for number in range(left)]
    assert added == [False] * (left - 1) + [True]


def test_a_success_outweighs_refusals() -> None:
    """Before them and after them."""
    served, refused = named("east"), task(1, account_group="1")
    for _ in range(REFUSALS):
        served.refusals.add(refused, left=9)
    served.note_success(refused)
    assert served.refusals.final == frozenset()
    assert not served.refusals.add(refused, left=9)


def test_the_api_s_calendar_goes_on_when_ours_is_set() -> None:
    """It was read beside the boot clock."""
    clock = VirtualClock(wall=1_000_000.0)
    unread, calendar = ApiCalendar(offset=600.0), ApiCalendar.read(600.0, clock)
    clock.advance(10.0)
    assert unread.epoch(clock) == calendar.epoch(clock) == 1_000_610.0
    clock.set_wall(2_000_000.0)
    assert (unread.epoch(clock), calendar.epoch(clock)) == (2_000_600.0, 1_000_610.0)


def test_organizations_are_looked_at_in_the_order_of_their_time() -> None:
    """One that is scheduled for another time is not looked at at the first one too."""
    east, west = (replace(named(name), identity=name) for name in ("east", "west"))
    both = ServedOrganizations({"east": east, "west": west}, cast("Store", None))
    assert [served.name for served in both.due(0.0)] == ["east", "west"]
    both.schedule(east, 20.0)
    both.schedule(west, 10.0)
    both.schedule(east, 5.0)
    assert both.next_look == 5.0
    assert [served.name for served in both.due(30.0)] == ["east", "west"]
    assert list(both.due(30.0)) == []


class Registry:
    """The names of organizations as a store knows them, and how often it was asked."""

    def __init__(self, **present: str) -> None:
        self.organizations, self.asked = self, 0
        self.present = present

    def present_identities(self, names: Sequence[str]) -> Mapping[str, str]:
        self.asked += 1
        return {name: self.present.get(name, name) for name in names}


def served_by(registry: Registry, *names: str) -> ServedOrganizations:
    served = {name: replace(named(name), identity=name) for name in names}
    return ServedOrganizations(served, cast("Store", registry))


def test_strangers_cost_one_question_however_many_they_are() -> None:
    """Two machines share a run of thousands of organizations, each with the tokens of one half."""
    registry = Registry()
    organizations = served_by(registry, "east", "west")
    strangers = [f"stranger{number}" for number in range(50)]
    assert [one.name for one in organizations.find_all([*strangers, "west"])] == ["west"]
    assert [organizations.find(one) for one in strangers] == [None] * 50
    assert registry.asked == 1


def test_an_organization_is_found_by_what_it_is_called_by_now() -> None:
    """Also by a name that was a stranger's before; and still by its old one."""
    registry = Registry()
    organizations = served_by(registry, "east", "west")
    assert organizations.find("id=7") is None
    registry.present = {"east": "id=7"}
    organizations.follow_identities()
    for name in ("id=7", "east"):
        found = organizations.find(name)
        assert found is not None
        assert (found.name, found.identity) == ("east", "id=7")
