"""What `plan` shows: every snapshot with its window, its group of slots and its time; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from orchestrator import narrate, records
from orchestrator.display_width import fitted
from orchestrator.model import JobFile, Limit, Result, Status, Task
from orchestrator.safe_text import harmless
from orchestrator.scheduler import ASSUMED_LATENCY, Start
from orchestrator.wording import plural


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
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
    entries: tuple[Entry, ...]
    notes: tuple[str, ...]
    now: float
    limits: Mapping[str, Limit]
    refused: bool = False

    @property
    def ends_at(self) -> float | None:
        """When the last answer is about to come; None when nothing is to be made."""
        starts = [entry.starts_at for entry in self.entries if entry.starts_at is not None]
        return max(starts) + ASSUMED_LATENCY if starts else None

    @property
    def active_deadline(self) -> int:
        """Seconds a Kubernetes Job should be allowed: the plan, and one task's full time for retries; whole minutes."""
        seconds = (self.ends_at or self.now) - self.now + self.jobfile.retry.within
        return math.ceil(seconds / 60) * 60


def preview(
    jobfile: JobFile,
    tasks: Sequence[Task],
    *,
    shown: Mapping[str, tuple[str, Limit]],
    known: Mapping[str, Result],
    starts: Sequence[Start],
    notes: Sequence[str],
    now: float,
    refused: bool = False,
) -> Preview:
    """Put a plan, what exists already and the forecast together, in the order in which things will go."""
    coming = {start.task.key: start for start in starts}
    names = {identity: name for identity, (name, _) in shown.items()}
    entries = [_entry(task, names, known.get(task.base_key), coming.get(task.key), now) for task in tasks]
    last = math.inf
    entries.sort(
        key=lambda e: (
            e.organization,
            e.existing is None,
            last if e.starts_at is None else e.starts_at,
            e.task.position,
        )
    )
    return Preview(
        jobfile=jobfile,
        entries=tuple(entries),
        notes=tuple(notes),
        now=now,
        limits=dict(shown.values()),
        refused=refused,
    )


def _entry(
    task: Task, names: Mapping[str, str], known: Result | None, start: Start | None, now: float
) -> Entry:
    name = names.get(task.organization, task.organization)
    if start is None:
        return Entry(task=task, organization=name, existing=known)
    starts_at = None if start.after is None else now + start.after
    return Entry(task=task, organization=name, starts_at=starts_at, group=start.group)


def lines(view: Preview, zone: tzinfo, *, deployed: bool = True) -> Iterator[str]:
    """The plan as text; `deployed`: of what may run in a cluster, which has to allow the time for it."""
    yield _headline(view)
    for note in view.notes:
        yield f"note: {note}"
    for organization in dict.fromkeys(entry.organization for entry in view.entries):
        yield ""
        yield from _organization(view, organization, zone)
    yield ""
    yield from _end(view, zone, deployed=deployed)


def _headline(view: Preview) -> str:
    total = len(view.entries)
    existing = sum(entry.existing is not None for entry in view.entries)
    public = Counter(entry.task.is_public for entry in view.entries)
    organizations = len({entry.organization for entry in view.entries})
    parts = [
        f"{harmless(view.jobfile.name)}: {plural(total, 'snapshot')} of {plural(organizations, 'organization')}",
        f"{existing} already there" if existing else "",
        "is_public: " + ", ".join(f"{count} {str(value).lower()}" for value, count in sorted(public.items()))
        if public
        else "",
    ]
    return "; ".join(part for part in parts if part)


def _organization(view: Preview, organization: str, zone: tzinfo) -> Iterator[str]:
    entries = [entry for entry in view.entries if entry.organization == organization]
    limit = view.limits[organization]
    yield f"{harmless(organization)} ({limit.usable} slots every {narrate.span(limit.per)})"
    whens = [_when(entry, view.now, zone) for entry in entries]
    width = max(13, *map(len, whens)) if whens else 13
    yield f"  {'group':>5}  {'start':<{width}}  {'priority':<8}  {'test':<28}  window"
    for entry, when in zip(entries, whens, strict=True):
        yield f"  {_line(entry, f'{when:<{width}}', view.now, zone)}"
        if entry.task.refusal is not None:
            yield f"         {harmless(entry.task.refusal)}"


def _line(entry: Entry, when: str, now: float, zone: tzinfo) -> str:
    task = entry.task
    test = f"{task.test_id} {harmless(task.test_name or '')}".strip()
    window = narrate.window_text(task.window, zone) + _year(task.window.start, now)
    group = "" if entry.group is None else str(entry.group)
    return f"{group:>5}  {when}  {task.priority.word:<8}  {fitted(test, 28)}  {window}"


def _year(start: float, now: float) -> str:
    """The year, where it is not this one: a mistyped one must be seen."""
    year, this = (datetime.fromtimestamp(at, UTC).year for at in (start, now))
    return "" if year == this else f", {year}"


def _when(entry: Entry, now: float, zone: tzinfo) -> str:
    if entry.existing is not None:
        made = entry.existing.status is Status.CREATED
        return "exists" if made else entry.existing.status.value
    if entry.task.refusal is not None:
        return "refused"
    if entry.starts_at is None:
        return "not known yet"
    return narrate.clock_time(entry.starts_at, now, zone, seconds=True)


def _end(view: Preview, zone: tzinfo, *, deployed: bool) -> Iterator[str]:
    if view.ends_at is None:
        yield "nothing to make"
        return
    took = narrate.span(view.ends_at - view.now)
    yield f"ends about {narrate.clock_time(view.ends_at, view.now, zone)}, in {took}"
    if deployed:
        yield f"in Kubernetes allow activeDeadlineSeconds: {view.active_deadline}"


def document(view: Preview) -> dict[str, object]:
    """The plan as one JSON document."""
    return {
        "job": view.jobfile.name,
        "planned_at": records.utc(view.now),
        "snapshots": [_object(entry) for entry in view.entries],
        "notes": list(view.notes),
        "ends_at": None if view.ends_at is None else records.utc(view.ends_at),
        "active_deadline_seconds": view.active_deadline,
    }


def _object(entry: Entry) -> dict[str, object]:
    task = entry.task
    known: dict[str, object | None] = {
        "organization": entry.organization,
        "account_group": task.account_group or None,
        "job_name": task.job_name,
        "priority": task.priority.word,
        "test_id": task.test_id,
        "test_name": task.test_name,
        "start": records.utc(task.window.start),
        "end": records.utc(task.window.end),
        "is_public": task.is_public,
        "group": entry.group,
        "starts_at": None if entry.starts_at is None else records.utc(entry.starts_at),
        "existing": None if entry.existing is None else entry.existing.status.value,
        "refusal": task.refusal,
    }
    return {key: value for key, value in known.items() if value is not None}
