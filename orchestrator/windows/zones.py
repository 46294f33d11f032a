"""Time zones: regions of the IANA database by name, rules as POSIX writes them, and what is neither."""

from __future__ import annotations

import functools
import re
import struct
from datetime import UTC, datetime, timedelta, tzinfo
from io import BytesIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from orchestrator.core import choice, closest, quote

_FIXED = {
    "EST": "America/New_York",
    "MST": "America/Denver",
    "HST": "Pacific/Honolulu",
    "EST5": "America/New_York",
    "MST7": "America/Denver",
    "PST8": "America/Los_Angeles",
    "CST6": "America/Chicago",
}
"""Names that stand for one offset all the year, with the region whose clocks most people mean by them."""

_ETC = re.compile(r"(?:Etc/)?(?:GMT|UTC)[+-]\d{1,2}", re.IGNORECASE)  # POSIX counts them to the west

_SHORT = re.compile(
    r"[A-Za-z]{0,5}(?:[+-]?\d{1,2}(?::?\d\d)?)?|[+-]\d{4}"
)  # an abbreviation, an offset, or both

_ALIKE = 0.85  # a letter of seven: cities that share less are other cities

_SUGGESTED = 3


def zone(timezone: str | None) -> tzinfo:
    """The zone of that name, UTC for None; ValueError says what to write when there is none."""
    if timezone is None:
        return UTC
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{quote(timezone)} is not a time zone: {_remedy(timezone)}") from None


def zone_by_rules(text: str) -> tzinfo:
    """The zone of rules as POSIX writes them in TZ, `EST5EDT,M3.2.0,M11.1.0`; ValueError when they are none.

    They are what a file of the zone database ends in (RFC 8536), so such a file is made of them.
    """
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{quote(text)} is not the rules of a time zone")
    head = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4)
    block = head + struct.pack(">lbb4s", 0, 0, 0, b"UTC")
    return ZoneInfo.from_file(BytesIO(block * 2 + f"\n{text}\n".encode()), key=text)


def zone_note(timezone: str, there: tzinfo) -> str | None:
    """A note on a name that is a zone, but hardly the one that most people take it for; None for a plain one."""
    offset = datetime(2026, 1, 1, tzinfo=there).utcoffset() or timedelta()
    minutes = abs(round(offset.total_seconds() / 60))
    shown = f"UTC{'-' if offset < timedelta() else '+'}{minutes // 60:02}:{minutes % 60:02}"
    if timezone in _FIXED:
        return (
            f"{timezone} is {shown} all the year, without daylight saving time: write {_FIXED[timezone]} if that region's"
            " clocks are meant"
        )
    if _ETC.fullmatch(timezone) and minutes:
        return f"{timezone} is {shown}, as POSIX counts: write a region such as Europe/Berlin if the other one is meant"
    return None


def _remedy(timezone: str) -> str:
    """The words to write instead: never an abbreviation that only looks alike, for it means another place."""
    near = _alike(timezone)
    if near:
        return f"did you mean {choice(near)}?"
    if timezone.lower() in ("z", "zulu"):
        return "write UTC"
    if timezone and _SHORT.fullmatch(timezone):
        return (
            "abbreviations and offsets say nothing about daylight saving time; write a region such as Europe/Berlin or"
            " America/New_York, or UTC; an offset goes with a time, as in 2026-11-20T14:00:00+02:00"
        )
    return "write a name such as Europe/Berlin or UTC"


def _alike(timezone: str) -> list[str]:
    """The regions whose city is nearly written so, in the area that is written, if one is."""
    area, _, city = timezone.rpartition("/")
    known: dict[str, list[str]] = {}
    for name in _regions():
        there, _, place = name.rpartition("/")
        if (there not in ("", "Etc") and not area) or there.casefold() == area.casefold():
            known.setdefault(_plain(place), []).append(name)
    near = closest(_plain(city), known, most=_SUGGESTED, cutoff=_ALIKE if area else 1.0)
    return [name for place in near for name in known[place]][:_SUGGESTED]


@functools.cache
def _regions() -> tuple[str, ...]:
    """All names of the zone database, whose folders are walked once."""
    return tuple(sorted(available_timezones()))


def _plain(place: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", place.casefold())
