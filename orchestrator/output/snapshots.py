"""What `tesnap list` shows: the snapshots of all runs that still exist; pure but for the reading."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from fnmatch import fnmatchcase

from orchestrator.core import SNAPSHOT_LIFETIME, Result, UsageError, harmless, is_like, nearest_words
from orchestrator.output import records, sentences
from orchestrator.output.table import Column, table_lines
from orchestrator.store import Queue
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

    `organization` is the user's name or a glob, `test` an id, a part of the name or a pattern with * and ?.
    """

    organization: str | None = None
    test: str | None = None
    made_since: float | None = None
    within: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSnapshot:
    """One snapshot with the run that made it and the user's name of its organization."""

    run_id: str
    organization: str
    result: Result
    made_at: float
    expires_at: float


def find_snapshots(queue: Queue, wanted: SnapshotFilter) -> list[ListedSnapshot]:
    """The snapshots that are meant and still exist, those that are deleted first first.

    UsageError when the store knows no such organization.
    """
    now = queue.epoch()
    since = max(now - SNAPSHOT_LIFETIME, wanted.made_since or 0.0) - CLOCKS_APART
    known: set[str] = set()
    found = sorted(
        _chosen(queue.snapshots(settled_since=since), wanted, known, now),
        key=lambda one: (one.expires_at, one.organization),
    )
    if not found and wanted.organization is not None:
        _require(wanted.organization, known | set(queue.names().values()))
    return found


def _require(pattern: str, known: Collection[str]) -> None:
    """That some organization is called so."""
    if not any(fnmatchcase(name, pattern) for name in known):
        near = nearest_words(pattern, sorted(known))
        there = f"it has {near}" if near else "it is empty"
        raise UsageError(f"the store knows no organization {pattern!r}: {there}")


def _chosen(
    found: Iterable[tuple[str, Result]], wanted: SnapshotFilter, known: set[str], now: float
) -> Iterator[ListedSnapshot]:
    """Those that are meant; `known` learns the organizations' names."""
    for run_id, result in found:
        expires_at, organization = result.expires_at, result.task.organization_name
        known.add(organization)
        if expires_at is None or not _is_meant(result, expires_at, wanted, now):
            continue
        made_at = expires_at - SNAPSHOT_LIFETIME
        yield ListedSnapshot(
            run_id=run_id, organization=organization, result=result, made_at=made_at, expires_at=expires_at
        )


def _is_meant(result: Result, expires_at: float, wanted: SnapshotFilter, now: float) -> bool:
    late_enough = wanted.made_since is None or expires_at - SNAPSHOT_LIFETIME >= wanted.made_since
    soon_enough = wanted.within is None or expires_at <= now + wanted.within
    organization = result.task.organization_name
    return (
        now < expires_at
        and (wanted.organization is None or fnmatchcase(organization, wanted.organization))
        and late_enough
        and soon_enough
        and (wanted.test is None or _is_test(result, wanted.test))
    )


def _is_test(result: Result, wanted: str) -> bool:
    """Whether it is of this test: by id, else by name as selectors have it."""
    return wanted == result.task.test_id or is_like(result.task.test_name or "", wanted)


def snapshots_table(
    found: Iterable[ListedSnapshot], now: float, zone: tzinfo, *, show_links: bool = True
) -> Iterator[str]:
    """The list as text: two lines for each, the second one with its link, which comes last."""
    rows = list(found)
    if not rows:
        yield "no such snapshots"
        return
    shown = [sentences.snapshot_row(one.result, zone, show_links=show_links) for one in rows]
    cells = [
        (
            harmless(one.run_id),
            clock_time(one.made_at, now, zone),
            row.organization,
            row.test,
            row.window,
        )
        for one, row in zip(rows, shown, strict=True)
    ]
    head, *lines = table_lines(_COLUMNS, cells)
    yield head
    for line, row in zip(lines, shown, strict=True):
        yield line
        yield f"{'':<6}  {row.expiry}  {row.about}"


def snapshots_documents(found: Iterable[ListedSnapshot], *, show_links: bool) -> list[records.Record]:
    """The list as records of snapshots (docs/records.md), without what only a run knows."""
    return [_document(one, show_links=show_links) for one in found]


def _document(one: ListedSnapshot, *, show_links: bool) -> records.Record:
    record = records.snapshot_record(one.result, run_id=one.run_id, show_links=show_links)
    only_a_run_knows = ("job_name", "priority", "event", "schema")
    return {key: value for key, value in record.items() if key not in only_a_run_knows}
