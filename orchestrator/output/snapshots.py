"""The snapshots of all runs that still exist, as `tesnap list` shows them: as text and as records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from fnmatch import fnmatchcase
from heapq import nsmallest
from itertools import islice

from orchestrator.core import SNAPSHOT_LIFETIME, Result, UsageError, harmless, is_like, nearest_words
from orchestrator.output import records, sentences
from orchestrator.output.table import Column, fits, table_rows, wrap_line
from orchestrator.store import History, Store
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

    def earliest(self, now: float) -> float:
        """When the first of them can have been stored, in epoch seconds: it may be stored later than it was made."""
        sooner = 0.0 if self.within is None else now - SNAPSHOT_LIFETIME
        return max(self.made_since or 0.0, sooner) - CLOCKS_APART

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


def find_snapshots(store: Store, wanted: SnapshotFilter) -> Iterator[ListedSnapshot]:
    """The snapshots that are meant and still exist, or may: the latest first, read as far as they are taken.

    UsageError at the end when there is none, and the store knows no such organization.
    """
    now, found, names = store.epoch(), False, set()
    for one in _read_snapshots(store.history, wanted.earliest(now)):
        names.add(one.result.task.organization_name)
        if wanted.matches(one, now):
            found = True
            yield one
    if not found and wanted.organization is not None:
        _check_organization(wanted.organization, names | set(store.organizations.names().values()))


def choose_shown(
    found: Iterable[ListedSnapshot], wanted: SnapshotFilter, most: int
) -> tuple[list[ListedSnapshot], bool]:
    """As many as fit, those that are deleted first on top; True if there are more.

    Those that were made last; where it is asked what is deleted `within` a time, those that are deleted first.
    """
    some = list(islice(found, most + 1)) if wanted.within is None else nsmallest(most + 1, found, key=_end)
    return sorted(some[:most], key=_end), len(some) > most


def _end(one: ListedSnapshot) -> tuple[float, str]:
    return one.ends_at, one.result.task.organization_name


def _read_snapshots(history: History, since: float) -> Iterator[ListedSnapshot]:
    """All that were made since then, but saved events that were gone, as one that was made in their place shows."""
    for made in history.snapshots(settled_since=since):
        result, ends_at = made.result, made.result.expires_at
        unknown = ends_at is None
        ends_at = result.may_expire_at if ends_at is None else ends_at
        if ends_at is None or (unknown and made.made_again is not None and made.made_again >= ends_at):
            continue
        yield ListedSnapshot(run_id=made.run_id, result=result, ends_at=ends_at, ends_unknown=unknown)


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


def snapshots_documents(found: Iterable[ListedSnapshot], *, show_links: bool) -> Iterator[records.Record]:
    """The list as records of snapshots (docs/records.md), without what only a run knows."""
    only_a_run_knows = ("job_name", "priority", "event", "schema")
    for one in found:
        record = records.snapshot_record(one.result, run_id=one.run_id, show_links=show_links)
        yield {key: record[key] for key in record if key not in only_a_run_knows}
