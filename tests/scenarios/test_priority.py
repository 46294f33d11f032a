"""Runs that share an organization: an incident goes before a batch, and the batch is not forgotten."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from orchestrator.core.jobs import JobFile, Priority
from tests.support.server_log import refusals
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]

THREE_HOLDS = 3 * (300.0 + 1.0 + 1.0)
"""The first return of a token at which a class has been held back for 3 W: period, guard, latency."""


def part(at: Stage, name: str, first: int, count: int, priority: Priority) -> JobFile:
    """A job file for some of the tests, with a priority."""
    jobfile = at.jobfile(first + count, name=name, priority=priority)
    (job,) = jobfile.jobs
    return replace(jobfile, jobs=(replace(job, tests=job.tests[first:]),))


def posts(at: Stage) -> list[tuple[float, str | None]]:
    """When which test's request arrived, in the order of arrival."""
    return sorted((entry.arrived, entry.test) for entry in at.simulator.log if entry.method == "POST")


def test_an_incident_goes_before_a_batch_that_already_waits(either_stage: StageMaker) -> None:
    """Its first goes with the next token; the batch gets only the one grant per 3 W until all ten are out."""
    at = either_stage(tests=120)
    batch, _ = at.worker(part(at, "batch", 0, 100, Priority.BATCH), run_id="batch")
    later = at.clock.boot() + 450.0
    incident_file = part(at, "incident", 100, 10, Priority.INCIDENT)
    started = []

    def begin() -> None:
        worker, _ = at.worker(incident_file, run_id="incident")
        started.append(at.clock.wall())
        workers.append(worker)

    workers = [batch]
    at.timeline.at(later, begin)
    drive(at.timeline, workers)
    ids = {test.id for test in incident_file.jobs[0].tests}
    after = [(arrived, test) for arrived, test in posts(at) if arrived >= started[0]]
    assert after[0][1] in ids
    assert after[0][0] <= started[0] + 302.0
    last = max(at_ for at_, (_, test) in enumerate(after) if test in ids)
    assert len([test for _, test in after[:last] if test not in ids]) <= 1
    assert refusals(at.simulator.log) == []
    assert len(posts(at)) == 110


def test_under_an_endless_incident_the_batch_gets_one_grant_in_three_periods(
    either_stage: StageMaker,
) -> None:
    """Exactly what the law gives: one for every 3 W, no more and no less."""
    at = either_stage(tests=100)
    incident, _ = at.worker(part(at, "incident", 0, 90, Priority.INCIDENT), run_id="incident")
    batch_file = part(at, "batch", 90, 10, Priority.BATCH)
    batch, _ = at.worker(batch_file, run_id="batch")
    drive(at.timeline, [incident, batch])
    ids = {test.id for test in batch_file.jobs[0].tests}
    out = posts(at)
    last_incident = max(arrived for arrived, test in out if test not in ids)
    granted = [arrived for arrived, test in out if test in ids and arrived < last_incident]
    gaps = [later - earlier for earlier, later in itertools.pairwise(granted)]
    assert len(granted) == (last_incident - out[0][0]) // THREE_HOLDS >= 5
    assert set(gaps) == {THREE_HOLDS}
    assert refusals(at.simulator.log) == []
