"""Two names for one organization, as one process serves it."""

from __future__ import annotations

import pytest

from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Reason
from orchestrator.worker.organization import ApiCalendar, ServedOrganization


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
