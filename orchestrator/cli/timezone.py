"""The zone in which a command shows times and reads clock times: as asked for, else the terminal's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from pathlib import Path

import click

from orchestrator.core import UsageError


def terminal_zone(name: str | None, environ: Mapping[str, str]) -> tuple[tzinfo, str | None]:
    """The zone to show times in, and its IANA name where it has one: as asked, else the terminal's."""
    from orchestrator.core import machine_zone
    from orchestrator.windows import zone

    if name:
        try:
            return zone(name), name
        except ValueError as error:
            raise click.UsageError(f"--timezone: {error}") from None
    written = environ.get("TZ")
    meant = _localtime_name() if written is None else written.removeprefix(":") or "UTC"
    try:
        return _zone_of(meant)
    except (ValueError, OSError):
        return machine_zone(), None


def clock_zone(name: str | None, environ: Mapping[str, str]) -> str:
    """The IANA name of the zone by which clock times are read: without one they would be guessed."""
    zone, known = terminal_zone(name, environ)
    if known is None and str(zone) != "UTC":
        raise UsageError(
            f"the terminal's zone, {zone}, has no name: say which it is with --timezone, e.g. Europe/Berlin"
        )
    return known or "UTC"


def _zone_of(meant: str) -> tuple[tzinfo, str | None]:
    """The zone that TZ means as the system reads it: a name, a file of the zone database or any other, or rules.

    ValueError and OSError when it is none of them.
    """
    from zoneinfo import ZoneInfo

    from orchestrator.windows import zone, zone_by_rules

    name = meant.rpartition("zoneinfo/")[2] if meant.startswith("/") else meant
    try:
        return zone(name), name
    except ValueError:
        if not meant.startswith("/"):
            return zone_by_rules(meant), "UTC" if meant == "UTC0" else None
    with Path(meant).open("rb") as file:
        return ZoneInfo.from_file(file, key=meant), None


def _localtime_name() -> str:
    """The zone that /etc/localtime points to, by name."""
    try:
        target = Path("/etc/localtime").readlink()
    except OSError:
        return ""
    return str(target).partition("zoneinfo/")[2]
