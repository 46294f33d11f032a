"""TODO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo

from orchestrator import core
from orchestrator.core import Status, harmless, plural
from orchestrator.output import sentences
from orchestrator.output.table import fit_to
from orchestrator.planning import PlannedSnapshot, Preview
from orchestrator.windows import clock_time, window_text


def plan_lines(view: Preview, zone: tzinfo, *, deployed: bool = True) -> Iterator[str]:
    """The plan as text; `deployed`: of what may run in a cluster, which has to allow the time for it."""
    yield _headline(view)
    for note in view.notes:
        yield f"note: {note}"
    for organization in dict.fromkeys(snapshot.organization for snapshot in view.snapshots):
        yield ""
        yield from _organization(view, organization, zone)
    yield ""
    yield from _end(view, zone, deployed=deployed)


def _headline(view: Preview) -> str:
    total = len(view.snapshots)
    existing = sum(snapshot.existing is not None for snapshot in view.snapshots)
    public = Counter(snapshot.task.is_public for snapshot in view.snapshots)
    organizations = len({snapshot.organization for snapshot in view.snapshots})
    parts = [
        f"{harmless(view.jobfile.name)}: {plural(total, 'snapshot')} of {plural(organizations, 'organization')}",
        f"{existing} already there" if existing else "",
        "is_public: " + ", ".join(f"{count} {str(value).lower()}" for value, count in sorted(public.items()))
        if public
        else "",
    ]
    return "; ".join(part for part in parts if part)


def _organization(view: Preview, organization: str, zone: tzinfo) -> Iterator[str]:
    snapshots = [snapshot for snapshot in view.snapshots if snapshot.organization == organization]
    limit = view.limits[organization]
    yield f"{harmless(organization)} ({limit.usable} slots every {sentences.duration_text(limit.per)})"
    whens = [_when(snapshot, view.now, zone) for snapshot in snapshots]
    width = max(13, *map(len, whens)) if whens else 13
    yield f"  {'group':>5}  {'start':<{width}}  {'priority':<8}  {'test':<28}  window"
    for snapshot, when in zip(snapshots, whens, strict=True):
        yield f"  {_line(snapshot, f'{when:<{width}}', view.now, zone)}"
        if snapshot.task.refusal is not None:
            yield f"         {harmless(snapshot.task.refusal)}"


def _line(snapshot: PlannedSnapshot, when: str, now: float, zone: tzinfo) -> str:
    task = snapshot.task
    test = f"{task.test_id} {harmless(task.test_name or '')}".strip()
    window = window_text(task.window, zone) + _year(task.window.start, now)
    group = "" if snapshot.group is None else str(snapshot.group)
    return f"{group:>5}  {when}  {task.priority.word:<8}  {fit_to(test, 28)}  {window}"


def _year(start: float, now: float) -> str:
    """The year, where it is not this one: a mistyped one must be seen."""
    year, this = (datetime.fromtimestamp(at, UTC).year for at in (start, now))
    return "" if year == this else f", {year}"


def _when(snapshot: PlannedSnapshot, now: float, zone: tzinfo) -> str:
    if snapshot.existing is not None:
        made = snapshot.existing.status is Status.CREATED
        return "exists" if made else snapshot.existing.status.value
    if snapshot.task.refusal is not None:
        return "refused"
    if snapshot.starts_at is None:
        return "not known yet"
    return clock_time(snapshot.starts_at, now, zone, seconds=True)


def _end(view: Preview, zone: tzinfo, *, deployed: bool) -> Iterator[str]:
    if view.ends_at is None:
        yield "nothing to make"
        return
    took = sentences.duration_text(view.ends_at - view.now)
    yield f"ends about {clock_time(view.ends_at, view.now, zone)}, in {took}"
    if deployed:
        yield f"in Kubernetes allow activeDeadlineSeconds: {view.active_deadline}"


def plan_document(view: Preview) -> dict[str, object]:
    """The plan as one JSON document."""
    return {
        "job": view.jobfile.name,
        "planned_at": core.utc_text(view.now),
        "snapshots": [_object(snapshot) for snapshot in view.snapshots],
        "notes": list(view.notes),
        "ends_at": None if view.ends_at is None else core.utc_text(view.ends_at),
        "active_deadline_seconds": view.active_deadline,
    }


def _object(snapshot: PlannedSnapshot) -> dict[str, object]:
    task = snapshot.task
    known: dict[str, object | None] = {
        "organization": snapshot.organization,
        "account_group": task.account_group or None,
        "job_name": task.job_name,
        "priority": task.priority.word,
        "test_id": task.test_id,
        "test_name": task.test_name,
        "start": core.utc_text(task.window.start),
        "end": core.utc_text(task.window.end),
        "is_public": task.is_public,
        "group": snapshot.group,
        "starts_at": None if snapshot.starts_at is None else core.utc_text(snapshot.starts_at),
        "existing": None if snapshot.existing is None else snapshot.existing.status.value,
        "refusal": task.refusal,
    }
    return {key: value for key, value in known.items() if value is not None}
