"""The server's record, the store and the outputs, held against the promises: pure functions."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orchestrator.core import Result, Status
from orchestrator.simulator import LoggedRequest

Wanted = tuple[str | None, float | None, float | None, bool | None]
"""The snapshot that is asked for: test, start, end, `is_public`."""


class Promise(StrEnum):
    """What must not happen."""

    OVER = "windows over the limit"
    LOST = "lost"
    TWICE = "made twice without saying so"
    ENDLESS = "runs that do not end"
    UNTRUE = "records that are not true"
    BROKEN = "processes that broke down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One promise that was not kept."""

    promise: Promise
    text: str


def find_breaches(
    log: Sequence[LoggedRequest],
    results: Mapping[str, Sequence[Result]],
    plans: Mapping[str, int],
    *,
    limit: int,
    period: float,
) -> Iterator[Breach]:
    """Every breach that the server's record and the store show; `plans` is how many tasks each run has."""
    yield from _over(log, limit, period)
    tasks = {result.task.key: result for found in results.values() for result in found}
    for run, count in plans.items():
        if len(results.get(run, ())) != count:
            yield Breach(promise=Promise.LOST, text=f"{run} has {len(results.get(run, ()))} of {count} tasks")
    made = Counter(_asked(entry) for entry in log if entry.counted)
    for key, result in tasks.items():
        yield from _settled(key, result, made[_wanted(result)])


def most_requests(log: Iterable[LoggedRequest], period: float) -> int:
    """The most requests for snapshots of one organization in any window, whatever became of them."""
    return max((_most(moments, period) for moments in _moments(log).values()), default=0)


def find_untrue(output: Path, known: Mapping[str, Result]) -> Iterator[Breach]:
    """Records of a process about snapshots that the store does not know, or knows of another test; by their ids."""
    for line in output.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return  # the process was killed while it wrote
        record = json.loads(line)
        if record["event"] not in ("snapshot.created", "snapshot.existing"):
            continue
        result = known.get(record["snapshot_id"])
        if result is None or result.task.test_id != record["test_id"]:
            text = f"{output.name}: {record['snapshot_id']} of test {record['test_id']} is not in the store"
            yield Breach(promise=Promise.UNTRUE, text=text)


def _over(log: Iterable[LoggedRequest], limit: int, period: float) -> Iterator[Breach]:
    """A request that is refused has used one of our slots as well as one that is not."""
    for organization, moments in _moments(log).items():
        most = _most(moments, period)
        if most > limit:
            yield Breach(promise=Promise.OVER, text=f"{most} requests of {organization} within {period:g} s")


def _moments(log: Iterable[LoggedRequest]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for entry in log:
        if entry.method == "POST" and entry.organization:
            found[entry.organization].append(entry.arrived)
    return found


def _most(moments: Iterable[float], period: float) -> int:
    ordered = sorted(moments)
    most = first = 0
    for last, moment in enumerate(ordered):
        while ordered[first] + period <= moment:
            first += 1
        most = max(most, last - first + 1)
    return most


def _settled(key: str, result: Result, made: int) -> Iterator[Breach]:
    status = result.status
    if not status.settled or status is Status.FAILED:
        yield Breach(promise=Promise.LOST, text=f"task {key} is {status} in the end: {result.problem}")
    elif status is Status.CREATED and not made:
        yield Breach(promise=Promise.LOST, text=f"task {key} counts as created, and the server never made it")
    if made > 1 and not result.duplicate_possible:
        yield Breach(
            promise=Promise.TWICE, text=f"task {key} was made {made} times, and nothing says that it may be"
        )


def _asked(entry: LoggedRequest) -> Wanted:
    return (entry.test, entry.start, entry.end, entry.is_public)


def _wanted(result: Result) -> Wanted:
    task = result.task
    return (task.test_id, float(task.window.start), float(task.window.end), task.is_public)
