"""The preview of a plan: every snapshot with its window, its group of slots and its time. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core import ExitCode, JobFile, Limit, Reason, Result, Task
from orchestrator.ratelimit import ASSUMED_LATENCY, ForecastStart


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSnapshot:
    """One snapshot of a plan: when it starts (epoch seconds) and in which group, or what exists already."""

    task: Task
    organization: str
    starts_at: float | None = None
    group: int | None = None
    existing: Result | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A plan as a user sees it; `now` is epoch seconds. `refused`: an organization let nobody look."""

    jobfile: JobFile
    snapshots: tuple[PlannedSnapshot, ...]
    notes: tuple[str, ...]
    now: float
    limits: Mapping[str, Limit]
    stopped: tuple[Reason, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that the organizations to which nothing is sent make of it."""
        return max((reason.exit_code for reason in self.stopped), default=ExitCode.DONE)

    @property
    def ends_at(self) -> float | None:
        """The time at which the last answer is about to come; None when nothing is to be made."""
        starts = [snapshot.starts_at for snapshot in self.snapshots if snapshot.starts_at is not None]
        return max(starts) + ASSUMED_LATENCY if starts else None

    @property
    def active_deadline(self) -> int:
        """Seconds a Kubernetes Job should be allowed: the plan, and one task's full time for retries; whole minutes."""
        seconds = (self.ends_at or self.now) - self.now + self.jobfile.retry.within
        return math.ceil(seconds / 60) * 60


def make_preview(
    jobfile: JobFile,
    tasks: Sequence[Task],
    *,
    shown: Mapping[str, tuple[str, Limit]],
    known: Mapping[str, Result],
    starts: Sequence[ForecastStart],
    notes: Sequence[str],
    now: float,
    stopped: tuple[Reason, ...] = (),
) -> Preview:
    """Put a plan, what exists already and the forecast together, in the order in which things will go."""
    coming = {start.task.key: start for start in starts}
    names = {identity: name for identity, (name, _) in shown.items()}
    snapshots = [
        _planned_snapshot(task, names, known.get(task.base_key), coming.get(task.key), now) for task in tasks
    ]
    snapshots.sort(key=_order)
    return Preview(
        jobfile=jobfile,
        snapshots=tuple(snapshots),
        notes=tuple(notes),
        now=now,
        limits=dict(shown.values()),
        stopped=stopped,
    )


def _order(snapshot: PlannedSnapshot) -> tuple[str, bool, float, int]:
    """By organization: first those that exist, then by time, those without one last."""
    starts_at = math.inf if snapshot.starts_at is None else snapshot.starts_at
    return (snapshot.organization, snapshot.existing is None, starts_at, snapshot.task.position)


def _planned_snapshot(
    task: Task, names: Mapping[str, str], known: Result | None, start: ForecastStart | None, now: float
) -> PlannedSnapshot:
    name = names.get(task.organization, task.organization)
    if start is None:
        return PlannedSnapshot(task=task, organization=name, existing=known)
    starts_at = None if start.after is None else now + start.after
    return PlannedSnapshot(task=task, organization=name, starts_at=starts_at, group=start.group)
