"""Whole runs in virtual time, under every way in which a server may count its limit."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import pytest

from orchestrator.core.jobs import Limit
from orchestrator.simulator import ordinary_faults
from tests.support.server_log import makespan, most_in_any_window, refusals
from tests.support.virtual import Stage

StageMaker = Callable[..., Stage]
ORDINARY = ["sliding", "fixed", "token_bucket"]
HOSTILE = ["refusals_count", "burst_1"]


@pytest.mark.parametrize("policy", ORDINARY)
def test_two_hundred_snapshots_take_hardly_longer_than_the_limit_demands(
    stage: StageMaker, policy: str
) -> None:
    """No refusal, never six in a window, and at most 1 % over the bound at a second of latency."""
    at = stage(policy=policy)
    ending, notebook = at.run(at.jobfile(200))
    log = at.simulator.log
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 200, 200)
    assert len({result.snapshot.link for result in notebook.results if result.snapshot}) == 200
    assert refusals(log) == []
    assert most_in_any_window(log, at.simulator.world.organizations[0].org_id, 300.0) == 5
    assert makespan(log) <= 1.01 * (ceil(200 / 5) - 1) * 300.0


@pytest.mark.parametrize("policy", HOSTILE)
def test_a_hostile_server_is_outlasted(stage: StageMaker, policy: str) -> None:
    """Where refusals count too, or bursts are refused, everything is made in the end."""
    at = stage(policy=policy)
    ending, notebook = at.run(at.jobfile(30))
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 30, 30)


def test_the_same_seed_gives_the_same_run(stage: StageMaker) -> None:
    """Record for record, event for event, with latencies, faults and backoff."""
    stories = []
    for _ in range(2):
        at = stage(latency=(2.0, 1.5), faults=ordinary_faults(), seed=7)
        _, notebook = at.run(at.jobfile(40), seed=11)
        stories.append((notebook.results, notebook.events, notebook.endings))
    assert stories[0] == stories[1]


def test_a_smaller_use_leaves_slots_to_others(stage: StageMaker) -> None:
    """With `use: 3` no window ever has more than three of ours."""
    at = stage(limit=Limit(use=3))
    at.run(at.jobfile(20))
    assert most_in_any_window(at.simulator.log, at.simulator.world.organizations[0].org_id, 300.0) == 3
