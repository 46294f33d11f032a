"""Two names for one organization, as one process serves it."""

from __future__ import annotations

import pytest

from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Reason
from orchestrator.worker.organization import ServedOrganization, joined


def lane(name: str, *, offset: float = 0.0, use: int = 5, refused: bool = False) -> ServedOrganization:
    made = ServedOrganization(identity="acme", name=name, limit=Limit(use=use), timeout=60.0, offset=offset)
    if refused:
        made.stop(Reason.TOKEN_REFUSED, "401")
    return made


@pytest.mark.parametrize("refused", ["east", "west"])
def test_one_usable_token_is_enough(refused: str) -> None:
    """And what its answers said of the API's clock holds for both."""
    one, other = (
        lane(name, refused=name == refused, offset=0.0 if name == refused else -600.0)
        for name in ("east", "west")
    )
    both = joined(one, other)
    assert (both.stopped, both.offset, both.name) == (None, -600.0, "east+west")


def test_the_more_cautious_settings_hold() -> None:
    """Whichever name they were written for."""
    assert joined(lane("east"), lane("west", use=2)).limit.usable == 2
    assert joined(lane("east", use=2), lane("west")).limit.usable == 2


def test_two_refused_tokens_are_refused() -> None:
    """Nothing can be sent."""
    assert joined(lane("east", refused=True), lane("west", refused=True)).stopped is Reason.TOKEN_REFUSED
