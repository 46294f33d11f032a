"""How a clock time, a day and a time window are written for people: one notation for each.

A clock time has its zone, and its date where that is not today's.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo

from orchestrator.core import Window

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def clock_time(at: float, now: float | None, zone: tzinfo, *, seconds: bool = False) -> str:
    """`15:31 CET`, with the date when that is not today's, with seconds when asked."""
    moment = datetime.fromtimestamp(at, zone)
    today = None if now is None else datetime.fromtimestamp(now, zone).date()
    day = "" if today in (None, moment.date()) else f"{day_text(moment.date(), today)} "
    return f"{day}{moment:{'%H:%M:%S' if seconds else '%H:%M'}} {_zone_name(moment)}"


def window_text(window: Window, zone: tzinfo, now: float | None = None) -> str:
    """`13:20–15:20 UTC (14:20–16:20 CET)`, dated unless it is today's; once where the zone's clocks show UTC.

    Without `now` the date stands there, and no year.
    """
    written, local = window_texts(window, zone, now)
    return f"{written} ({local})" if local else written


def window_texts(window: Window, zone: tzinfo, now: float | None = None) -> tuple[str, str]:
    """The two halves of `window_text`; the second has a date where that is not the one in UTC, and may be empty."""
    today = None if now is None else datetime.fromtimestamp(now, UTC).date()
    written = _stretch(window, UTC, today)
    if all(not datetime.fromtimestamp(at, zone).utcoffset() for at in (window.start, window.end)):
        return written, ""
    return written, _stretch(window, zone, datetime.fromtimestamp(window.start, UTC).date())


def day_text(day: date, today: date | None = None) -> str:
    """`20 Nov 2026`, without the year where that is today's."""
    year = "" if today is not None and day.year == today.year else f" {day.year}"
    return f"{day.day} {_MONTHS[day.month - 1]}{year}"


def _stretch(window: Window, zone: tzinfo, known: date | None) -> str:
    """`[date ]start–[date ]end zone`: a date only where it is not the one known already."""
    start, end = (datetime.fromtimestamp(at, zone) for at in (window.start, window.end))
    form = "%H:%M:%S" if start.second or end.second else "%H:%M"
    first = "" if start.date() == known else f"{day_text(start.date(), known or start.date())} "
    second = "" if end.date() == start.date() else f"{day_text(end.date(), start.date())} "
    zones = _zone_name(start), _zone_name(end)
    between = "" if zones[0] == zones[1] else f" {zones[0]}"
    return f"{first}{start:{form}}{between}–{second}{end:{form}} {zones[1]}"


def _zone_name(moment: datetime) -> str:
    """The zone's abbreviation; a zone without letters is named by its offset."""
    name = moment.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name
