"""Moments at which alerts matter to a job, and windows that start where the earliest alert did. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orchestrator import windows
from orchestrator.core import SINCE_ALERT, Job, SelectionError, Window, WindowSpec, utc_text


def alert_windows(job: Job, *, now: float) -> tuple[Window, ...]:
    """The windows in which an active alert makes a test of the job an alerting one; this moment without any."""
    found: list[Window] = []
    for spec in job.windows:
        if spec.start == SINCE_ALERT:
            end = _end(spec, now)
            found.append(Window(start=end, end=end))
        else:
            found += windows.resolve_window(spec, now=now).windows
    return tuple(found) or (Window(start=int(now), end=int(now)),)


def windows_since_alert(
    job: Job, starts: Sequence[float], *, now: float
) -> tuple[tuple[WindowSpec, ...], tuple[str, ...]]:
    """The job's windows with the beginning of the earliest alert filled in, and what the user is told.

    `starts` are when the tests' alerts began (epoch seconds). One longer ago than a window may be long gives
    the longest window. SelectionError without any.
    """
    specs, notes = [], []
    for spec in job.windows:
        if spec.start != SINCE_ALERT:
            specs.append(spec)
            continue
        end = _end(spec, now)
        started, note = _earliest(starts, end)
        specs.append(replace(spec, start=utc_text(started), end=utc_text(end)))
        notes += [f"{job.name}: {note}"] if note else []
    return tuple(specs), tuple(notes)


def _earliest(starts: Sequence[float], end: int) -> tuple[float, str]:
    if not starts:
        raise SelectionError(
            f"since alert: none of the tests has an alert that is active at {utc_text(end)} and says since"
            " when: write a time, such as --since 14:07 or --last 2h"
        )
    earliest, longest = min(starts), windows.LENGTHS[-1]
    if end - earliest <= longest:
        return min(earliest, end - 1), ""
    at_most = windows.format_duration(longest)
    note = (
        f"the earliest alert began at {utc_text(earliest)}, longer ago than the"
        f" {at_most} that a window may have: the window is the last {at_most}"
    )
    return end - longest, note


def _end(spec: WindowSpec, now: float) -> int:
    """The end of a window since an alert: as written, else where `last` would end."""
    if spec.end is not None:
        return int(windows.parse_instant(spec.end, timezone=spec.timezone)[0])
    return windows.resolve_window(WindowSpec(last=float(windows.LENGTHS[0])), now=now).windows[0].end
