"""A plan before it is run, as `tesnap plan` shows it: as text and as one JSON document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from operator import attrgetter

from orchestrator import core
from orchestrator.core import Status, harmless, plural
from orchestrator.output import records, sentences
from orchestrator.output.table import Column, table_lines
from orchestrator.planning import PlannedSnapshot, Preview
from orchestrator.windows import clock_time, window_text

_COLUMNS = (
    Column(head="group"),
    Column(head="start", least=13),  # as wide as "not known yet"
    Column(head="priority"),
    Column(head="test", least=28, most=28),
    Column(head="window"),
)


def plan_lines(view: Preview, zone: tzinfo, *, deployed: bool = True) -> Iterator[str]:
    """The plan as text; `deployed`: of what may run in a cluster, which has to allow the time for it."""
    yield _headline(view)
    for note in view.notes:
        yield f"note: {note}"
    for organization, snapshots in groupby(view.snapshots, key=attrgetter("organization")):
        limit = view.limits[organization]
        yield ""
        yield f"{harmless(organization)} ({limit.usable} slots every {sentences.duration_text(limit.per)})"
        yield from _snapshot_lines(list(snapshots), view.now, zone)
    yield ""
    yield from _last_lines(view, zone, deployed=deployed)


def _headline(view: Preview) -> str:
    existing = sum(snapshot.existing is not None for snapshot in view.snapshots)
    public = Counter(snapshot.task.is_public for snapshot in view.snapshots)
    values = ", ".join(f"{count} {str(value).lower()}" for value, count in sorted(public.items()))
    total = plural(len(view.snapshots), "snapshot")
    organizations = plural(len({snapshot.organization for snapshot in view.snapshots}), "organization")
    parts = (
        f"{harmless(view.jobfile.name)}: {total} of {organizations}",
        f"{existing} already there" if existing else "",
        f"is_public: {values}" if values else "",
    )
    return "; ".join(part for part in parts if part)


def _snapshot_lines(snapshots: Sequence[PlannedSnapshot], now: float, zone: tzinfo) -> Iterator[str]:
    """A table of one organization's snapshots; under one that is refused, why."""
    rows = [_cells(snapshot, now, zone) for snapshot in snapshots]
    columns: tuple[Column, ...] = _COLUMNS
    if any(snapshot.task.account_group for snapshot in snapshots):
        columns = (*_COLUMNS, Column(head="account group"))
        groups = (snapshot.task.account_group or "the token's own" for snapshot in snapshots)
        rows = [(*row, harmless(group)) for row, group in zip(rows, groups, strict=True)]
    head, *lines = table_lines(columns, rows)
    yield f"  {head}"
    for snapshot, line in zip(snapshots, lines, strict=True):
        yield f"  {line}"
        if snapshot.task.refusal is not None:
            yield f"         {harmless(snapshot.task.refusal)}"


def _cells(snapshot: PlannedSnapshot, now: float, zone: tzinfo) -> tuple[str, ...]:
    task = snapshot.task
    group = "" if snapshot.group is None else str(snapshot.group)
    test = f"{task.test_id} {harmless(task.test_name or '')}".strip()
    window = window_text(task.window, zone) + _year(task.window.start, now)
    return f"{group:>5}", _start_text(snapshot, now, zone), task.priority.word, test, window


def _year(start: float, now: float) -> str:
    """The year, where it is not this one: a mistyped one must be seen."""
    year, this = (datetime.fromtimestamp(at, UTC).year for at in (start, now))
    return "" if year == this else f", {year}"


def _start_text(snapshot: PlannedSnapshot, now: float, zone: tzinfo) -> str:
    if snapshot.existing is not None:
        made = snapshot.existing.status is Status.CREATED
        return "exists" if made else snapshot.existing.status.value
    if snapshot.task.refusal is not None:
        return "refused"
    if snapshot.starts_at is None:
        return "not known yet"
    return clock_time(snapshot.starts_at, now, zone, seconds=True)


def _last_lines(view: Preview, zone: tzinfo, *, deployed: bool) -> Iterator[str]:
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
        "snapshots": [_snapshot_document(snapshot) for snapshot in view.snapshots],
        "notes": list(view.notes),
        "ends_at": records.utc_or_none(view.ends_at),
        "active_deadline_seconds": view.active_deadline,
    }


def _snapshot_document(snapshot: PlannedSnapshot) -> dict[str, object]:
    task = snapshot.task
    return records.known_fields(
        {
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
            "starts_at": records.utc_or_none(snapshot.starts_at),
            "existing": None if snapshot.existing is None else snapshot.existing.status.value,
            "refusal": task.refusal,
        }
    )
