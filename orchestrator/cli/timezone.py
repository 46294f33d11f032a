"""The zone in which a command shows times and reads clock times: as asked for, else the terminal's."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from io import BytesIO
from pathlib import Path

import click

from orchestrator.core import UsageError, quote, read_start

_LOCALTIME = (
    "/etc/localtime"  # the machine's zone: a link into the zone database, or a copy of one of its files
)

_LONGEST = 64 * 1024  # bytes: a zone's file has up to four thousand

_UNREADABLE = (ValueError, OSError, EOFError, AssertionError, IndexError, struct.error)
"""The errors of Python's zoneinfo for what is no zone, no rules, or no whole file of a zone."""


def terminal_zone(name: str | None, environ: Mapping[str, str]) -> tuple[tzinfo, str | None]:
    """The zone to show times in, and its IANA name where it has one: as asked, else the terminal's.

    A TZ that names none is UTC, as the system reads it; `zone_notes` says so.
    """
    from orchestrator.core import machine_zone
    from orchestrator.windows import zone

    if name:
        try:
            return zone(name), name
        except ValueError as error:
            raise click.UsageError(f"--timezone: {error}") from None
    written = environ.get("TZ")
    found = _zone_of(_meant(written))
    if found is None and written is None:
        return machine_zone(), None
    return found or (UTC, "UTC")


def zone_notes(name: str | None, environ: Mapping[str, str]) -> Iterator[str]:
    """The notes on a zone that is none, or hardly the one that is meant."""
    from orchestrator.windows import zone_note

    written = None if name else environ.get("TZ")
    if written is not None and _zone_of(_meant(written)) is None:
        yield (
            f"warning: TZ={quote(written)} is not a time zone, so times are in UTC: set it to a region such as"
            " Europe/Berlin, or write --timezone"
        )
    there, known = terminal_zone(name, environ)
    note = zone_note(name or known or _meant(written), there)
    if note is not None:
        yield f"note: {'--timezone' if name else 'TZ'}: {note}"


def clock_zone(name: str | None, environ: Mapping[str, str]) -> str:
    """The IANA name of the zone by which clock times are read: without one they would be guessed."""
    zone, known = terminal_zone(name, environ)
    if known is None and str(zone) != "UTC":
        raise UsageError(
            f"the terminal's zone, {zone}, has no name: say which it is with --timezone, e.g. Europe/Berlin"
        )
    return known or "UTC"


def _meant(written: str | None) -> str:
    """The zone that TZ says: without one the machine's, an empty one is UTC."""
    return _LOCALTIME if written is None else written.removeprefix(":") or "UTC"


def _zone_of(meant: str) -> tuple[tzinfo, str | None] | None:
    """The zone as the system reads it: a name, a file of the zone database or any other, or rules; None for none."""
    from zoneinfo import ZoneInfo

    from orchestrator.windows import zone, zone_by_rules

    try:
        path = str(Path(meant).resolve()) if meant.startswith("/") else ""
        name = path.rpartition("zoneinfo/")[2] if path else meant
        try:
            return zone(name), name
        except ValueError:
            if not path:
                return zone_by_rules(meant), "UTC" if meant == "UTC0" else None
        content = (
            read_start(Path(path), _LONGEST) + b"\n"
        )  # without it zoneinfo never ends on a file that is cut off
        return ZoneInfo.from_file(BytesIO(content), key=meant), None
    except _UNREADABLE:
        return None
