"""The snapshots of all runs that still exist, as `tesnap list` shows them: as text and as records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from fnmatch import fnmatchcase

from orchestrator.core import SNAPSHOT_LIFETIME, Result, UsageError, harmless, is_like, nearest_words
from orchestrator.output import records, sentences
from orchestrator.output.table import Column, fits, table_rows, wrap_line
from orchestrator.store import Store, Views
from orchestrator.windows import DAY, clock_time

CLOCKS_APART = DAY
"""Seconds by which the store's calendar and ThousandEyes' may differ: more rows are read than are shown."""

_COLUMNS = (
    Column(head="run", least=6),
    Column(head="made", least=20),
    Column(head="organization", least=16, most=16),
    Column(head="test", least=32, most=32),
    Column(head="window"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFilter:
    """Which snapshots are meant: all that are set have to hold. `made_since` is epoch seconds, `within` seconds.

    `organization` is the user's name or a glob, `test` an id, a part of the name or a pattern with * and ?. A saved
    event may exist for ever; only of what may be deleted `within` a time its day has to be still to come.
    """

    organization: str | None = None
    test: str | None = None
    made_since: float | None = None
    within: float | None = None

    def matches(self, one: ListedSnapshot, now: float) -> bool:
        """True if the snapshot still exists and is meant."""
        task = one.result.task
        return (
            (now < one.ends_at or (one.ends_unknown and self.within is None))
            and (self.within is None or one.ends_at <= now + self.within)
            and (self.made_since is None or one.made_at >= self.made_since)
            and (self.organization is None or fnmatchcase(task.organization_name, self.organization))
            and (self.test is None or self.test == task.test_id or is_like(task.test_name or "", self.test))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSnapshot:
    """One snapshot with the run that made it and when it is deleted, or may be if its end is unknown; epoch seconds."""

    run_id: str
    result: Result
    ends_at: float
    ends_unknown: bool = False

    @property
    def made_at(self) -> float:
        """Epoch seconds, by ThousandEyes' calendar."""
        return self.ends_at - SNAPSHOT_LIFETIME


def find_snapshots(store: Store, wanted: SnapshotFilter) -> list[ListedSnapshot]:
    """The snapshots that are meant and still exist, or may, those that are deleted first first.

    UsageError when the store knows no such organization.
    """
    now = store.epoch()
    since = (wanted.made_since or 0.0) - CLOCKS_APART
    found = [one for one in _read_snapshots(store.views, since) if wanted.matches(one, now)]
    if not found and wanted.organization is not None:
        names = {one.result.task.organization_name for one in _read_snapshots(store.views, since)}
        _check_organization(wanted.organization, names | set(store.organizations.names().values()))
    return sorted(found, key=lambda one: (one.ends_at, one.result.task.organization_name))


def _read_snapshots(views: Views, since: float) -> Iterator[ListedSnapshot]:
    """All that were made since then, but saved events that were gone, as one that was made in their place shows."""
    newer: dict[str, float] = {}  # when the latest one of each task was made
    for run_id, result in views.snapshots(settled_since=since):
        if result.expires_at is not None:
            yield ListedSnapshot(run_id=run_id, result=result, ends_at=result.expires_at)
        elif result.may_expire_at is not None:
            replaced = newer.get(result.task.base_key, 0.0) >= result.may_expire_at
            if not replaced:
                yield ListedSnapshot(
                    run_id=run_id, result=result, ends_at=result.may_expire_at, ends_unknown=True
                )
        if result.task.generation:
            newer.setdefault(result.task.base_key, result.settled_wall or 0.0)


def _check_organization(pattern: str, known: Collection[str]) -> None:
    """UsageError unless some organization is called so."""
    if not any(fnmatchcase(name, pattern) for name in known):
        near = nearest_words(pattern, sorted(known))
        there = f"it has {near}" if near else "it is empty"
        raise UsageError(f"the store knows no organization {pattern!r}: {there}")


def snapshots_table(
    found: Sequence[ListedSnapshot],
    now: float,
    zone: tzinfo,
    *,
    show_links: bool = True,
    room: int | None = None,
) -> Iterator[str]:
    """The list as text, in the terminal's `room`: below each row its end and its link, which is never broken."""
    if not found:
        yield "no such snapshots"
        return
    rows = [sentences.snapshot_row(one.result, zone, show_links=show_links) for one in found]
    cells = [
        (harmless(one.run_id), clock_time(one.made_at, now, zone), row.organization, row.test, row.window)
        for one, row in zip(found, rows, strict=True)
    ]
    head, *parts = table_rows(_COLUMNS, cells, room=room)
    yield from head
    for lines, row in zip(parts, rows, strict=True):
        yield from lines
        yield from _below(row, room)


def _below(row: sentences.SnapshotRow, room: int | None) -> Iterator[str]:
    """The end of a snapshot and its link: on one line, or the link on its own, where it can be clicked."""
    below = f"{'':<6}  {row.expiry}  {row.about}"
    if fits(below, room):
        yield below
        return
    yield from wrap_line(f"{'':<6}  {row.expiry}", room)
    yield from wrap_line(f"  {row.about}", room)


def snapshots_documents(found: Sequence[ListedSnapshot], *, show_links: bool) -> list[records.Record]:
    """The list as records of snapshots (docs/records.md), without what only a run knows."""
    only_a_run_knows = ("job_name", "priority", "event", "schema")
    made = [records.snapshot_record(one.result, run_id=one.run_id, show_links=show_links) for one in found]
    return [{key: record[key] for key in record if key not in only_a_run_knows} for record in made]
