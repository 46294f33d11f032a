"""The preview of a plan: every snapshot with its window, its group of slots and its time. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.core import Existence, ExitCode, JobFile, Limit, Reason, Result, Task
from orchestrator.planning.ended_events import EndedEvents
from orchestrator.ratelimit import ASSUMED_LATENCY, ForecastStart


class PlannedSnapshot(NamedTuple):
    """One snapshot of a plan: when it starts (epoch seconds) and in which group, or what exists already.

    `there` is said of a saved event whose thirty days are over.
    """

    task: Task
    starts_at: float | None = None
    group: int | None = None
    existing: Result | None = None
    there: Existence | None = None


class PlannedOrganization(NamedTuple):
    """The snapshots of one organization, under the user's name for it, in the order in which they will go."""

    name: str
    limit: Limit
    snapshots: tuple[PlannedSnapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan as a user sees it, organization by organization, each made when it is asked for; `now` is epoch seconds.

    `asked` is how many snapshots the jobs ask for. `stopped`: an organization let nobody look.
    """

    jobfile: JobFile
    make: Callable[[], Iterator[PlannedOrganization]]
    asked: int
    notes: tuple[str, ...]
    now: float
    stopped: tuple[Reason, ...] = ()

    def __iter__(self) -> Iterator[PlannedOrganization]:
        """The organizations by their names."""
        return self.make()

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that the organizations to which nothing is sent make of it."""
        return max((reason.exit_code for reason in self.stopped), default=ExitCode.DONE)


class PlanTotals:
    """The sums over the organizations of a preview that were added."""

    def __init__(self, preview: Preview) -> None:
        self.snapshots, self.existing, self.organizations = 0, 0, 0
        self.is_public: Counter[bool] = Counter()
        self._preview, self._last_start = preview, -math.inf
        self._ended = EndedEvents()

    def add(self, organization: PlannedOrganization) -> None:
        """Count an organization's snapshots."""
        self.organizations += 1
        for one in organization.snapshots:
            self.snapshots += 1
            self.existing += one.existing is not None
            self.is_public[one.task.is_public] += 1
            self._last_start = max(self._last_start, -math.inf if one.starts_at is None else one.starts_at)
            if one.there is not None:
                self._ended.add(one.task, one.there)

    @property
    def notes(self) -> tuple[str, ...]:
        """All that the user should know about the plan."""
        return (*self._preview.notes, *self._ended.notes())

    @property
    def ends_at(self) -> float | None:
        """The time at which the last answer is about to come; None when nothing is to be made."""
        return None if self._last_start == -math.inf else self._last_start + ASSUMED_LATENCY

    @property
    def active_deadline(self) -> int:
        """Seconds a Kubernetes Job should be allowed: the plan, and one task's full time for retries; whole minutes."""
        now = self._preview.now
        seconds = (self.ends_at or now) - now + self._preview.jobfile.retry.within
        return math.ceil(seconds / 60) * 60


def order_snapshots(
    tasks: Sequence[Task],
    *,
    known: Mapping[str, Result],
    ended: Mapping[str, Existence],
    starts: Mapping[str, ForecastStart],
    now: float,
) -> tuple[PlannedSnapshot, ...]:
    """One organization's tasks with what exists already (by base key) and the forecast (by key), in the order in which they will go."""
    planned = []
    for task in tasks:
        key, start = task.base_key, starts.get(task.key)
        after = None if start is None else start.after
        one = PlannedSnapshot(
            task=task,
            starts_at=None if after is None else now + after,
            group=None if start is None else start.group,
            existing=known.get(key) if start is None else None,
            there=ended.get(key),
        )
        planned.append(one)
    return tuple(sorted(planned, key=_order))


def _order(snapshot: PlannedSnapshot) -> tuple[bool, float, int]:
    """First those that exist, then by time, those without one last."""
    starts_at = math.inf if snapshot.starts_at is None else snapshot.starts_at
    return snapshot.existing is None, starts_at, snapshot.task.position
