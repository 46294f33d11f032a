"""A machine that sleeps, or a network that dawdles, between a grant and the first byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from orchestrator.core.errors import LeaseLost
from orchestrator.core.tasks import Lease
from tests.support.server_log import refusals
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]


@pytest.mark.parametrize("pause", [15.0, 400.0, 7200.0])
def test_a_grant_that_grew_stale_is_handed_back(stage: StageMaker, pause: float) -> None:
    """Half the grace after the grant not a byte leaves: it was no attempt, and everything is made afterwards."""
    at = stage()
    worker, notebook = at.worker(at.jobfile(8))
    at.senders[-1].pauses = [0.0, pause, pause]
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 8)
    assert {result.attempts for result in notebook.results} == {1}
    assert refusals(at.simulator.log) == []
    assert any(event.name == "attempt.unsent" for event in notebook.events)


def test_a_short_pause_does_not_matter(stage: StageMaker) -> None:
    """A connect that takes less than half the grace is an ordinary one."""
    at = stage()
    worker, notebook = at.worker(at.jobfile(8))
    at.senders[-1].pauses = [14.0, 14.0, 14.0]
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 8)
    assert not any(event.name == "attempt.unsent" for event in notebook.events)


def test_a_commit_that_took_too_long_is_no_attempt_either(stage: StageMaker) -> None:
    """The store kept the commit before the first byte waiting: the grant grew stale meanwhile, and not a byte leaves."""
    at = stage()
    worker, notebook = at.worker(at.jobfile(8))
    sender, waits = at.senders[-1], [40.0]
    commit = sender._commit

    def slow(leases: Sequence[Lease]) -> list[LeaseLost | None]:
        lost = commit(leases)
        at.clock.advance(waits.pop() if waits else 0.0)
        return lost

    sender._commit = slow
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 8)
    assert {result.attempts for result in notebook.results} == {1}
    assert [event.name for event in notebook.events].count("attempt.unsent") == 1
    assert refusals(at.simulator.log) == []
