"""What a campaign is to do, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.tasks import Result, Status
from tests.crash.judge import Seen, Violation, busiest, snapshot_refusals
from tests.crash.points import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a campaign is to do: so many processes at a time, kills at random, and kills at each point."""

    store: str
    folder: Path
    workers: int = 12
    kills: int = 300
    per_point: int = 20
    seed: int = 0
    planted: str | None = None
    longest: float = 130.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a campaign came to."""

    orders: Orders
    at_random: int
    at_points: Mapping[Point, int]
    starts: int
    seen: Seen
    violations: Sequence[Violation]
    seconds: float

    @property
    def missing(self) -> list[str]:
        """Moments that had too few kills."""
        few = [f"{p.words} {n}" for p, n in self.at_points.items() if n < self.orders.per_point]
        return [*few, *([f"at random {self.at_random}"] if self.at_random < self.orders.kills else [])]

    @property
    def results(self) -> list[Result]:
        """Every task once."""
        found = {r.task.key: r for results in self.seen.results.values() for r in results}
        return list(found.values())

    @property
    def uncertain(self) -> int:
        """How many tasks stayed uncertain."""
        return sum(result.status is Status.UNCERTAIN for result in self.results)

    @property
    def found(self) -> int:
        """How many lost answers were found by their saved event."""
        return sum(result.found is not None for result in self.results)

    @property
    def refusals(self) -> int:
        """Snapshots that the server refused."""
        return len(snapshot_refusals(self.seen.log))

    @property
    def general(self) -> int:
        """Requests of any kind that the limit of 240 a minute refused."""
        return sum(entry.exhausted == "general" for entry in self.seen.log)

    @property
    def busiest(self) -> int:
        """The most snapshots in any window."""
        return busiest(self.seen.log, self.seen.period)
