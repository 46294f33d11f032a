"""A plan before it is run, as `tesnap plan` shows it: as text and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo

from orchestrator import core
from orchestrator.core import Status, harmless, plural
from orchestrator.output import records, sentences
from orchestrator.output.table import Column, table_lines
from orchestrator.planning import PlannedOrganization, PlannedSnapshot, PlanTotals, Preview
from orchestrator.windows import clock_time, window_text

MOST_LISTED = 2_000
"""Snapshots of a plan that are listed one by one, as text: more are summed up by organization."""

_COLUMNS = (
    Column(head="group"),
    Column(head="start", least=13),  # as wide as "not known yet"
    Column(head="priority"),
    Column(head="test", least=28, most=28),
    Column(head="window"),
)


def plan_lines(view: Preview, zone: tzinfo, *, deployed: bool = True) -> Iterator[str]:
    """The plan as text; `deployed`: of what may run in a cluster, which has to allow the time for it.

    Of more snapshots than anybody reads, each organization has a line: none of them has to be kept for that.
    """
    totals = PlanTotals(view)
    body: list[str] = []
    for organization in view:
        totals.add(organization)
        body += (
            _table(organization, view.now, zone)
            if view.asked <= MOST_LISTED
            else [_sum_up(organization, view.now, zone)]
        )
    yield _headline(view, totals)
    for note in totals.notes:
        yield f"note: {note}"
    if view.asked > MOST_LISTED:
        yield ""
    yield from body
    yield ""
    yield from _last_lines(view, totals, zone, deployed=deployed)


def _headline(view: Preview, totals: PlanTotals) -> str:
    values = ", ".join(f"{count} {str(value).lower()}" for value, count in sorted(totals.is_public.items()))
    total = plural(totals.snapshots, "snapshot")
    parts = (
        f"{harmless(view.jobfile.name)}: {total} of {plural(totals.organizations, 'organization')}",
        f"{totals.existing} already there" if totals.existing else "",
        f"is_public: {values}" if values else "",
        "--organization GLOB lists those of some, --json all" if view.asked > MOST_LISTED else "",
    )
    return "; ".join(part for part in parts if part)


def _sum_up(organization: PlannedOrganization, now: float, zone: tzinfo) -> str:
    """An organization in one line: how many snapshots, and when the first and the last of them go."""
    snapshots = organization.snapshots
    existing = sum(one.existing is not None for one in snapshots)
    refused = sum(one.existing is None and one.task.refusal is not None for one in snapshots)
    starts = [one.starts_at for one in snapshots if one.starts_at is not None]
    unknown = len(snapshots) - existing - refused - len(starts)
    parts = (
        f"{harmless(organization.name)}: {plural(len(snapshots), 'snapshot')}",
        f"{existing} already there" if existing else "",
        f"{refused} refused" if refused else "",
        f"from {clock_time(min(starts), now, zone)} to {clock_time(max(starts), now, zone)}"
        if starts
        else "",
        f"{unknown} at a time not known yet" if unknown else "",
    )
    return "; ".join(part for part in parts if part)


def _table(organization: PlannedOrganization, now: float, zone: tzinfo) -> Iterator[str]:
    limit = organization.limit
    yield ""
    yield f"{harmless(organization.name)} ({limit.usable} slots every {sentences.duration_text(limit.per)})"
    yield from _snapshot_lines(organization.snapshots, now, zone)


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


def _last_lines(view: Preview, totals: PlanTotals, zone: tzinfo, *, deployed: bool) -> Iterator[str]:
    if totals.ends_at is None:
        yield "nothing to make"
        return
    took = sentences.duration_text(totals.ends_at - view.now)
    yield f"ends about {clock_time(totals.ends_at, view.now, zone)}, in {took}"
    if deployed:
        yield f"in Kubernetes allow activeDeadlineSeconds: {totals.active_deadline}"


def plan_document(view: Preview) -> Iterator[tuple[str, object]]:
    """The plan as one JSON document, pair by pair; its snapshots come one after the other, and what follows counts them."""
    totals = PlanTotals(view)
    yield "job", view.jobfile.name
    yield "planned_at", core.utc_text(view.now)
    yield "snapshots", _snapshot_documents(view, totals)
    yield "notes", list(totals.notes)
    yield "ends_at", records.utc_or_none(totals.ends_at)
    yield "active_deadline_seconds", totals.active_deadline


def _snapshot_documents(view: Preview, totals: PlanTotals) -> Iterator[dict[str, object]]:
    for organization in view:
        totals.add(organization)
        for snapshot in organization.snapshots:
            yield _snapshot_document(organization.name, snapshot)


def _snapshot_document(organization: str, snapshot: PlannedSnapshot) -> dict[str, object]:
    task = snapshot.task
    return records.known_fields(
        {
            "organization": organization,
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
