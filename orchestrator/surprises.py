"""Snapshots made before that contradict `expect_saved_event`: one is enough, whichever process made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from orchestrator import life, tidings
from orchestrator.lane import Lane
from orchestrator.model import Reason, Run
from orchestrator.progress import Event
from orchestrator.queue import Queue


def stopped_by_surprises(queue: Queue, run: Run, lanes: Mapping[str, Lane]) -> Iterator[Event]:
    """Stop each organization of which the run refers to a snapshot that is not what its job file expects."""
    for result in queue.results(run.id):
        lane = lanes.get(result.task.organization)
        if lane is None or lane.stopped is not None or result.snapshot is None:
            continue
        wrong = life.surprise(result.task.expect_saved_event, result.snapshot)
        if wrong is not None:
            lane.stop(Reason.UNEXPECTED_SNAPSHOT, f"{wrong.title}; {wrong.detail}")
            yield tidings.lane_stopped(lane)
