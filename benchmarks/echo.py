"""An API that says yes to everything, after a while: what is left to measure is the worker and its store."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Sequence
from random import Random

from benchmarks.plans import LIMIT, TIMEOUT
from orchestrator.api.response import Answer
from orchestrator.core.errors import TesnapError
from orchestrator.core.events import Ending, Event, Observer, Progress
from orchestrator.core.jobs import RetryRules
from orchestrator.core.tasks import Lease, Result, Run
from orchestrator.store.store import Store
from orchestrator.worker.organization import ServedOrganization
from orchestrator.worker.sender import Looked, LostAnswer, Sent, commit_first_byte
from orchestrator.worker.worker import Worker
from tests.support.clock import VirtualClock


class Echo:
    """A sender in virtual time: `wait` lets it pass up to the next answer.

    `latency` is the mean; answers take half of it to half as much again, so that they come one by one.
    """

    def __init__(self, store: Store, clock: VirtualClock, *, latency: float, capacity: int) -> None:
        self._store, self._clock, self._latency, self.capacity = store, clock, latency, capacity
        self._on_wire: list[tuple[float, int, Sent | Looked]] = []
        self._count, self._chance = itertools.count(), Random(0)
        self.sent = 0

    def send(self, lease: Lease) -> None:
        try:
            commit_first_byte(lease, self._clock, self._store.queue.mark_sending, stopping=False)
        except TesnapError as refused:
            self._end(0.0, Sent(lease=lease, refused=refused))
            return
        self.sent += 1
        self._end(self._latency * self._chance.uniform(0.5, 1.5), Sent(lease=lease, answer=_created(lease)))

    def look(self, lost: Sequence[LostAnswer]) -> None:
        self._end(0.0, Looked(lost=lost))

    def take_ended(self) -> list[Sent | Looked]:
        ended: list[Sent | Looked] = []
        while self._on_wire and self._on_wire[0][0] <= self._clock.boot():
            ended.append(heapq.heappop(self._on_wire)[2])
        return ended

    def wait(self, seconds: float) -> None:
        until = self._clock.boot() + max(0.0, seconds)
        if self._on_wire:
            until = min(until, self._on_wire[0][0])
        self._clock.advance(max(0.0, until - self._clock.boot()))

    def wake(self) -> None:
        """Nothing waits in virtual time."""

    def drain(self) -> None:
        """Nothing stops these runs."""

    def abort(self) -> None:
        """Same."""

    def close(self) -> None:
        """Nothing to let go."""

    def _end(self, after: float, end: Sent | Looked) -> None:
        heapq.heappush(self._on_wire, (self._clock.boot() + after, next(self._count), end))


class Silent:
    """An observer that only counts."""

    def __init__(self) -> None:
        self.results = 0

    def on_start(self, run: Run, tasks: int) -> None:
        """Not shown."""

    def on_result(self, result: Result) -> None:  # noqa: ARG002 - the observer's signature
        self.results += 1

    def on_event(self, event: Event) -> None:
        """Not shown."""

    def on_progress(self, progress: Progress) -> None:
        """Not shown."""

    def on_end(self, ending: Ending) -> None:
        """Not shown."""


def worker_of(
    store: Store,
    run: Run,
    organizations: list[str],
    clock: VirtualClock,
    sender: Echo,
    *,
    observer: Observer | None = None,
) -> Worker:
    """A worker that serves these organizations; nobody looks unless an observer is named."""
    served = {
        name: ServedOrganization(identity=name, name=name, limit=LIMIT, timeout=TIMEOUT)
        for name in organizations
    }
    return Worker(run, store, sender, served, clock, observer=observer or Silent(), rules=RetryRules())


def work(worker: Worker, sender: Echo, clock: VirtualClock, *, until: float) -> None:
    """Step the worker until a moment of virtual time."""
    while clock.boot() < until:
        wake = worker.step()
        if wake is None:
            return
        sender.wait(min(wake, until) - clock.boot())


def _created(lease: Lease) -> Answer:
    made = {
        "id": f"s-{lease.task.key}",
        "testId": lease.task.test_id,
        "shareDate": "2026-11-20T14:00:00Z",
        "startRoundId": lease.task.window.start,
        "endRoundId": lease.task.window.end,
        "test": {"testName": lease.task.test_name, "savedEvent": True},
        "_links": {"appLink": {"href": f"https://app.example.com/share/{lease.task.key}"}},
    }
    headers = {"content-type": "application/json"}
    return Answer(sent=True, status=201, headers=headers, body=json.dumps(made).encode())
