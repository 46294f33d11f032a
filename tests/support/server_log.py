"""The judges over the simulator's log: what its server saw, counted without a line of the product."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from orchestrator.simulator import LoggedRequest

Wanted = tuple[str | None, str | None, str | None, float | None, float | None, bool | None]
"""The snapshot that a request asked for, apart from its title."""


def read_log(path: Path) -> list[LoggedRequest]:
    """The entries of a log file; a last line that is still being written is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [LoggedRequest(**json.loads(line)) for line in lines if line.endswith("\n")]


def creations(log: Iterable[LoggedRequest], organization: str | None = None) -> list[LoggedRequest]:
    """The requests that made a snapshot, in the order in which they counted."""
    made = [e for e in log if e.counted and organization in {None, e.organization}]
    return sorted(made, key=_counted_at)


def most_in_any_window(log: Iterable[LoggedRequest], organization: str, period: float) -> int:
    """The most snapshots of an organization in any window that holds its start and not its end."""
    moments = [_counted_at(entry) for entry in creations(log, organization)]
    most = first = 0
    for last, moment in enumerate(moments):
        while moments[first] + period <= moment:
            first += 1
        most = max(most, last - first + 1)
    return most


def refusals(log: Iterable[LoggedRequest]) -> list[LoggedRequest]:
    """The requests that were answered with 429, Too Many Requests."""
    return [entry for entry in log if entry.status == 429]


def find_duplicates(log: Iterable[LoggedRequest]) -> dict[Wanted, int]:
    """The snapshots that were made more than once, and how often."""
    times = Counter(wanted(entry) for entry in creations(log))
    return {wanted: count for wanted, count in times.items() if count > 1}


def makespan(log: Iterable[LoggedRequest]) -> float:
    """Seconds from the first POST's arrival to the last snapshot that counted; 0 if none did."""
    posts = [entry for entry in log if entry.method == "POST"]
    made = creations(posts)
    return _counted_at(made[-1]) - min(entry.arrived for entry in posts) if made else 0.0


def _counted_at(entry: LoggedRequest) -> float:
    return entry.counted_at if entry.counted_at is not None else entry.arrived


def wanted(entry: LoggedRequest) -> Wanted:
    """The snapshot that a request asked for."""
    return (entry.organization, entry.aid, entry.test, entry.start, entry.end, entry.is_public)
