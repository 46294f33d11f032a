"""The server's view of every request, and the judges over it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

Wanted = tuple[str | None, str | None, str | None, float | None, float | None, bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """One request as the server saw it; all times in epoch seconds of the true clock.

    `counted` means that a snapshot was made and used a slot, whatever the client got to hear;
    `counted_at` is when the origin acted (None: never). `status` is what was sent and `answered` when;
    both are None if nothing was. `exhausted` is the limit that refused it, `general` or `snapshots`. `start`, `end` and `is_public` are those of a valid request.
    """

    arrived: float
    method: str
    path: str
    counted_at: float | None = None
    answered: float | None = None
    organization: str | None = None
    aid: str | None = None
    bearer: str | None = None
    test: str | None = None
    status: int | None = None
    fault: str | None = None
    counted: bool = False
    snapshot: str | None = None
    display_name: str | None = None
    start: float | None = None
    end: float | None = None
    is_public: bool | None = None
    exhausted: str | None = None

    def to_line(self) -> str:
        """The entry as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"

    @property
    def wanted(self) -> Wanted:
        """The snapshot that was asked for, apart from its title."""
        return (self.organization, self.aid, self.test, self.start, self.end, self.is_public)


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
    times = Counter(entry.wanted for entry in creations(log))
    return {wanted: count for wanted, count in times.items() if count > 1}


def makespan(log: Iterable[LoggedRequest]) -> float:
    """Seconds from the first POST's arrival to the last snapshot that counted; 0 if none did."""
    posts = [entry for entry in log if entry.method == "POST"]
    made = creations(posts)
    return _counted_at(made[-1]) - min(entry.arrived for entry in posts) if made else 0.0


def _counted_at(entry: LoggedRequest) -> float:
    return entry.counted_at if entry.counted_at is not None else entry.arrived
