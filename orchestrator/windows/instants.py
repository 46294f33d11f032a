"""Instants: what people write for a moment, and how a moment, a day and a window are written for them.

Inside the program an instant is seconds since the epoch, UTC. A wall-clock time needs a zone to become
one: a time that a zone skips moves to the first valid minute after the gap, one that it has twice is the
first; both are told in a note. Zones are names of the IANA database; None is UTC.
"""

from __future__ import annotations

import calendar
import math
import re
from bisect import bisect
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from datetime import timezone as fixed_offset
from typing import NamedTuple

from orchestrator.core import Window, quote
from orchestrator.windows.durations import parse_duration
from orchestrator.windows.zones import zone

YEARS = range(2000, 2100)
"""The years an instant may have: ThousandEyes was founded in 2010, and any other year is a slip."""

_FARTHEST_OFFSET = timedelta(hours=14)  # Line Islands, UTC+14: no zone of today is farther from UTC

_DAYS_BACK = 4  # the latest 14:00 is of today or yesterday, one day more per day a zone skipped

_INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?"
    r"(?: ?(Z|UTC|[+-]\d\d(?::?\d\d)?))?",
    re.ASCII | re.IGNORECASE,
)

_CLOCK = re.compile(r"(\d\d?):(\d\d)(?::(\d\d))?", re.ASCII)

_EXAMPLES = "2026-11-20T14:00:00Z, 2026-11-20T14:00:00+01:00 or, in a timezone, 2026-11-20 14:00"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Instant(NamedTuple):
    """Epoch seconds of what was written, with a note where that is not plain."""

    at: float
    notes: tuple[str, ...] = ()


def local(epoch: float, timezone: str | None) -> datetime:
    """The instant as an aware datetime of the zone."""
    return datetime.fromtimestamp(epoch, zone(timezone))


def local_text(epoch: float, timezone: str | None) -> str:
    """The instant as `2026-11-20 14:00 CET`, with seconds where there are any."""
    moment = local(math.floor(epoch), timezone)
    return f"{_wall_text(moment)} {moment.tzname()}"


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


def parse_instant(text: str, *, timezone: str | None) -> Instant:
    """Epoch seconds and notes of a date and time with Z or an offset, or a wall-clock time in the zone.

    ISO 8601 in its extended form, `T` or a space between date and time. ValueError says what is wrong and
    what to write instead: `24:00`, week dates, dates without a time and wall clocks without a zone are
    among it.
    """
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{quote(text)} is not a time: write {_EXAMPLES}")
    wall, offset = _wall(text, match), match[8]
    if offset is not None:
        return Instant(wall.replace(tzinfo=_offset(text, offset)).timestamp())
    if timezone is None:
        raise ValueError(
            f"{quote(text)} has no zone: write {wall.isoformat()}Z, an offset such as +01:00 instead of the"
            " Z, or set timezone"
        )
    return read_wall(wall, timezone)


def is_wall_clock(text: str) -> bool:
    """True if a valid instant was written without Z or offset, so that the zone decides."""
    match = _INSTANT.fullmatch(text.strip())
    return match is not None and match[8] is None


def parse_clock(text: str, *, seconds: bool = False) -> time:
    """A time of day, `HH:MM`, with `seconds` also `HH:MM:SS`; ValueError says what to write instead."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None or (match[3] is not None and not seconds):
        form = "HH:MM or HH:MM:SS" if seconds else "HH:MM"
        raise ValueError(f"{quote(text)} is not a time of day: write {form}, such as 14:07")
    return _read_clock(text, match.groups(), midnight="midnight is written 00:00")


def parse_moment(text: str, *, now: float, timezone: str | None) -> Instant:
    """The moment that is typed in an incident as epoch seconds, with notes.

    All that `parse_instant` takes, a bare `14:07` (the latest such moment up to now, so in a repeated hour
    the second one once it is past), `2 h ago`, `yesterday 14:00`, `today 09:30` and `now`, the last full
    second. ValueError says what to write instead.
    """
    words = " ".join(text.lower().split())
    day, _, clock = words.partition(" ")
    if words == "now":
        return Instant(math.floor(now))
    if words.endswith("ago"):
        return Instant(math.floor(now) - _ago(text, words.removesuffix("ago")))
    if day in ("today", "yesterday") and clock:
        date_meant = local(now, timezone).date() - timedelta(days=day == "yesterday")
        return read_wall(datetime.combine(date_meant, parse_clock(clock, seconds=True)), timezone)
    if _CLOCK.fullmatch(words):
        return latest(parse_clock(words, seconds=True), now=now, timezone=timezone, repeats=True)
    if not _INSTANT.fullmatch(text.strip()):
        raise ValueError(
            f"{quote(text)} is not a time: write 14:07, '2h ago', 'yesterday 14:00', now, or {_EXAMPLES}"
        )
    return parse_instant(text, timezone=timezone or "UTC")


def latest(clock: time, *, now: float, timezone: str | None, repeats: bool = False) -> Instant:
    """The last time up to now that the zone's clocks showed this time of day.

    Once for each date that exists: moved out of a gap, and the first one of a repeated hour unless
    `repeats` counts the second one too.
    """
    today = local(now, timezone).date()
    # Tomorrow too: clocks that are put back over midnight have shown some of it before.
    days = (today - timedelta(days=back) for back in range(-1, _DAYS_BACK))
    walls = [datetime.combine(day, clock) for day in days if _exists(day, timezone)]
    folds = (False, True) if repeats else (False,)
    readings = (read_wall(wall, timezone, second=second) for wall in walls for second in folds)
    return max((reading for reading in readings if reading.at <= now), key=lambda reading: reading.at)


def read_wall(wall: datetime, timezone: str | None, *, second: bool = False) -> Instant:
    """The instant of a naive wall-clock time, of a repeated one the first, or the `second` when asked."""
    there = zone(timezone)
    first, other = (wall.replace(tzinfo=there, fold=fold) for fold in (0, 1))
    before, after = (moment.utcoffset() or timedelta() for moment in (first, other))
    if before == after:
        return Instant(first.timestamp())
    if before < after:
        at = _end_of_gap(other.timestamp(), first.timestamp(), there)
        return Instant(at, (_note_on_skipped(wall, at, timezone),))
    taken, left = (other, first) if second else (first, other)
    note = _note_on_repeated(taken, left, timezone, "second" if second else "first")
    return Instant(taken.timestamp(), (note,))


def _end_of_gap(before: float, after: float, there: tzinfo) -> float:
    """The instant between the two at which the zone's clocks were put forward, by bisection."""
    seconds = range(math.floor(before), math.ceil(after))
    old = datetime.fromtimestamp(seconds.start, there).utcoffset()
    unchanged = bisect(seconds, False, key=lambda at: datetime.fromtimestamp(at, there).utcoffset() != old)
    return float(seconds.start + unchanged)


def _exists(day: date, timezone: str | None) -> bool:
    """True if the zone has this date: Apia had no 2011-12-30, it moved over the date line."""
    return local(read_wall(datetime.combine(day, time()), timezone).at, timezone).date() == day


def _wall(text: str, match: re.Match[str]) -> datetime:
    """The date and time that the match has, checked one by one."""
    year, month, day = (int(match[group]) for group in (1, 2, 3))
    if year not in YEARS:
        raise ValueError(f"{quote(text)}: the year {match[1]} is not between {YEARS[0]} and {YEARS[-1]}")
    if not 1 <= month <= 12:
        raise ValueError(f"{quote(text)}: there is no month {match[2]}")
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        raise ValueError(f"{quote(text)}: there is no day {match[3]} in {match[1]}-{match[2]}")
    return datetime.combine(date(year, month, day), _time_of_day(text, match))


def _time_of_day(text: str, match: re.Match[str]) -> time:
    """The time of day that the match has."""
    on = f"{match[1]}-{match[2]}-{match[3]}"
    if match[4] is None:
        raise ValueError(f"{quote(text)} has no time of day: write {on} 00:00 for its first moment")
    following = date.fromisoformat(on) + timedelta(days=1)
    clock = _read_clock(
        text, match.group(4, 5, 6), midnight=f"midnight is written as the start of a day: {following} 00:00"
    )
    return clock.replace(microsecond=int((match[7] or "0")[:6].ljust(6, "0")))


def _read_clock(text: str, parts: Iterable[str | None], *, midnight: str) -> time:
    """The time of day with this hour, minute and second; ValueError when a clock never shows them."""
    hour, minute, second = (int(part or 0) for part in parts)
    if (hour, minute, second) == (24, 0, 0):
        raise ValueError(f"{quote(text)}: {midnight}")
    for number, highest, word in ((hour, 23, "hours"), (minute, 59, "minutes"), (second, 59, "seconds")):
        if number > highest:
            raise ValueError(f"{quote(text)}: {word} go from 00 to {highest}, not to {number}")
    return time(hour, minute, second)


def _offset(text: str, written: str) -> tzinfo:
    """The zone of `Z`, `UTC`, `+01:00`, `+0100` or `+01`."""
    if written.upper() in ("Z", "UTC"):
        return UTC
    hours, minutes = int(written[1:3]), int(written[3:].lstrip(":") or 0)
    size = timedelta(hours=hours, minutes=minutes)
    if minutes > 59 or size > _FARTHEST_OFFSET:
        raise ValueError(f"{quote(text)}: no zone is {written} from UTC: write an offset such as +01:00")
    return fixed_offset(-size if written[0] == "-" else size)


def _ago(text: str, duration: str) -> float:
    """The seconds of a duration in which spaces are allowed."""
    try:
        return parse_duration(duration.replace(" ", ""))
    except ValueError as error:
        raise ValueError(f"{quote(text)}: {error}") from None


def _note_on_skipped(wall: datetime, at: float, timezone: str | None) -> str:
    return (
        f"{_wall_text(wall)} does not exist in {timezone}, where the clocks are put forward:"
        f" taken as {local_text(at, timezone)}"
    )


def _note_on_repeated(taken: datetime, left: datetime, timezone: str | None, which: str) -> str:
    return (
        f"{_wall_text(taken)} occurs twice in {timezone}, where the clocks are put back: the {which} is"
        f" taken, {taken.isoformat()} (for the other one write {left.isoformat()})"
    )


def _wall_text(moment: datetime) -> str:
    form = "%Y-%m-%d %H:%M:%S" if moment.second else "%Y-%m-%d %H:%M"
    return moment.strftime(form)


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
