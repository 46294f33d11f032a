"""A forecast of starts: the bucket's own decisions, asked one after another in time that nobody waits for."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from orchestrator.core import Limit, Priority, Reason, Task
from orchestrator.ratelimit.bucket import Bucket, Demand, Go, Token, decide, settled_return

ASSUMED_LATENCY = 1.0
"""Seconds that a plan allows for each answer."""


class ForecastStart(NamedTuple):
    """When a task will start, in seconds from now (None: unknown), and in which group of slots."""

    task: Task
    after: float | None
    group: int


def forecast_starts(
    tasks: Sequence[Task],
    bucket: Bucket,
    limit: Limit,
    *,
    now: float,
    epoch: float,
    latency: float = ASSUMED_LATENCY,
) -> list[ForecastStart]:
    """When each task of one organization will start, if nothing else happens, in the order of starting.

    `now` is store time, `epoch` the API's calendar at that moment. The first request goes alone.
    """
    return _Forecast(tasks, bucket, limit, now=now, epoch=epoch, latency=latency).starts()


class _Forecast:
    """The bucket's own decisions, asked one after another at the times it names."""

    def __init__(
        self,
        tasks: Sequence[Task],
        bucket: Bucket,
        limit: Limit,
        *,
        now: float,
        epoch: float,
        latency: float,
    ) -> None:
        self._limit, self._latency, self._origin, self._now = limit, latency, now, now
        known = {t.number: t for t in bucket.tokens}
        tokens = [known.get(n, Token(number=n)) for n in range(1, limit.snapshots + 1)]
        self._bucket = replace(bucket, tokens=tokens)
        self._later: dict[Priority, list[tuple[float, int, Task]]] = defaultdict(list)
        self._due: dict[Priority, list[tuple[int, Task]]] = defaultdict(list)
        for task in tasks:
            due = now + max(0.0, task.ready_at - epoch)
            heapq.heappush(self._later[task.priority], (due, task.position, task))

    def starts(self) -> list[ForecastStart]:
        starts: list[ForecastStart] = []
        while (demand := self._demand()) is not None:
            decision = decide(self._bucket, demand, self._limit, self._now)
            self._bucket = replace(self._bucket, held=decision.held)
            if isinstance(decision.outcome, Go):
                starts.append(self._grant(decision.outcome, len(starts)))
            elif decision.outcome.until is None:
                break
            else:
                self._now = max(decision.outcome.until, self._now)
        return starts + self._unknown(len(starts))

    def _demand(self) -> Demand | None:
        mine: dict[Priority, tuple[float, Reason]] = {}
        for priority, later in self._later.items():
            while later and later[0][0] <= self._now:
                _, position, task = heapq.heappop(later)
                heapq.heappush(self._due[priority], (position, task))
            if self._due[priority]:
                mine[priority] = (self._now, Reason.OWN_QUOTA)
            elif later:
                mine[priority] = (later[0][0], Reason.WINDOW_NOT_OVER)
        return Demand(mine=mine) if mine else None

    def _grant(self, go: Go, index: int) -> ForecastStart:
        _, task = heapq.heappop(self._due[go.priority])
        answered = self._now + self._latency
        tokens = [
            Token(number=t.number, returns_at=settled_return(self._limit, answered))
            if t.number == go.token
            else t
            for t in self._bucket.tokens
        ]
        self._bucket = replace(self._bucket, tokens=tokens, last_grant=self._now, gate=None)
        start = ForecastStart(
            task=task, after=self._now - self._origin, group=index // self._limit.usable + 1
        )
        if index == 0:
            self._now = answered
        return start

    def _unknown(self, index: int) -> list[ForecastStart]:
        left = [task for due in self._due.values() for _, task in due]
        left += [task for later in self._later.values() for _, _, task in later]
        left.sort(key=lambda t: (t.priority, t.position))
        return [
            ForecastStart(task=task, after=None, group=at // self._limit.usable + 1)
            for at, task in enumerate(left, start=index)
        ]


def estimate_done(left: int, *, until: float, limit: Limit) -> float:
    """About when the last of `left` tasks will have gone if the next goes at `until` (any clock)."""
    return until + max(0, -(-left // limit.usable) - 1) * (limit.hold + ASSUMED_LATENCY)
