"""The judges see what they are there to see: with a violation planted, each of them says so.

These tests patch on purpose: they put the bug in that the law forbids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from orchestrator.core.errors import LeaseLost
from orchestrator.core.jobs import Limit
from orchestrator.simulator import script_faults
from orchestrator.store import leases
from orchestrator.store.leases import End
from orchestrator.store.queue import Queue
from tests.support.server_log import find_duplicates, refusals
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]


def test_a_token_that_returns_from_the_time_of_sending_is_seen(
    stage: StageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from the request instead of the answer, varying latency makes the server refuse."""
    at = stage(latency=(15.0, 15.0))
    monkeypatch.setattr(leases, "settled_return", lambda limit, seen_at: seen_at + limit.hold - 30.0)
    at.run(at.jobfile(60))
    assert refusals(at.simulator.log)


class FreesOnError(Queue):
    """A queue that gives the token back when an attempt ends without a settling answer."""

    def settle(self, ends: Sequence[End]) -> list[LeaseLost | None]:
        return super().settle([end if _is_answered(end) else replace(end, settlement=None) for end in ends])


def _is_answered(end: End) -> bool:
    return end.settlement is not None and end.settlement.answered


def test_a_token_freed_on_an_error_is_seen(stage: StageMaker) -> None:
    """A 502 after the origin acted has used the quota, and the task made again exists twice."""
    at = stage(faults=script_faults([None, "502-after", "502-after", "502-after"]))
    store = at.open()
    store.queue = FreesOnError(store._database)
    worker, _ = at.worker(at.jobfile(30), store=store)
    drive(at.timeline, [worker])
    assert refusals(at.simulator.log)
    assert find_duplicates(at.simulator.log)


def test_a_bucket_of_six_is_seen(stage: StageMaker) -> None:
    """One token too many, and the server refuses: what counts is its own log, not the product's."""
    at = stage(limit=Limit(snapshots=6, use=6), server_limit=5)
    at.run(at.jobfile(30))
    assert refusals(at.simulator.log)
