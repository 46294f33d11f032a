"""The zone in which a command shows and reads times: as asked for, else as the system reads TZ."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from orchestrator.cli.timezone import clock_zone, terminal_zone, zone_notes
from orchestrator.core.errors import UsageError
from tests.support.commands import LONGEST, ran

SUMMER, WINTER = datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tz", "name", "summer", "winter"),
    [
        ("America/New_York", "America/New_York", -4, -5),
        (":Europe/Berlin", "Europe/Berlin", 2, 1),
        ("/usr/share/zoneinfo/America/New_York", "America/New_York", -4, -5),
        (":/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin", 2, 1),
        ("EST5EDT,M3.2.0,M11.1.0", None, -4, -5),
        ("<+03>-3", None, 3, 3),
        ("UTC0", "UTC", 0, 0),
        ("", "UTC", 0, 0),
        (":", "UTC", 0, 0),
        ("CET-1CEST,M3.5.0,M10.5.0/3", None, 2, 1),
        ("Foo/Bar", "UTC", 0, 0),
        ("/etc/passwd", "UTC", 0, 0),
        (":/nowhere", "UTC", 0, 0),
        ("/etc", "UTC", 0, 0),
        ("EST5EDT,M3", "UTC", 0, 0),
    ],
)
def test_the_terminals_zone_is_what_tz_means(tz: str, name: str | None, summer: int, winter: int) -> None:
    """A name, a file of the zone database, or rules: whatever it is, it goes before the machine's own zone."""
    zone, known = terminal_zone(None, {"TZ": tz})
    offsets = [at.astimezone(zone).utcoffset() for at in (SUMMER, WINTER)]
    assert (known, offsets) == (name, [timedelta(hours=summer), timedelta(hours=winter)])


def test_a_zone_file_of_any_place_is_read(tmp_path: Path) -> None:
    """It has no name, but its times are right."""
    (tmp_path / "here").write_bytes(Path("/usr/share/zoneinfo/Asia/Tokyo").read_bytes())
    zone, known = terminal_zone(None, {"TZ": f"{tmp_path}/here"})
    assert (known, SUMMER.astimezone(zone).utcoffset()) == (None, timedelta(hours=9))


@pytest.mark.parametrize("tz", ["EST5EDT,M3.2.0,M11.1.0", "<+03>-3", "CET-1"])
def test_clock_times_are_not_guessed_in_a_zone_without_a_name(tz: str) -> None:
    """Rules have no name that a window could carry: the error says to name the zone."""
    with pytest.raises(UsageError, match=f"zone, {re.escape(tz)}, has no name: .* --timezone"):
        clock_zone(None, {"TZ": tz})
    assert clock_zone("Europe/Berlin", {"TZ": tz}) == "Europe/Berlin"


def test_a_link_into_the_zone_database_has_the_name_of_its_target(tmp_path: Path) -> None:
    """As /etc/localtime is one: clock times can be read in it."""
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert clock_zone(None, {"TZ": f":{tmp_path}/localtime"}) == "Europe/Berlin"
    assert clock_zone(None, {"TZ": ":/etc/localtime"}) == clock_zone(None, {})


@pytest.mark.parametrize(
    "tz", ["Foo/Bar", "/etc/passwd", ":/nowhere", "/etc", "EST5EDT,M3", "PSTX", "a\x1bb"]
)
def test_a_tz_that_is_none_is_warned_of(tz: str) -> None:
    """Times are in UTC, as the system has them, and are called so."""
    (note,) = zone_notes(None, {"TZ": tz})
    assert note.startswith("warning: TZ=")
    assert "is not a time zone, so times are in UTC" in note
    assert note.isprintable()
    assert list(zone_notes("Europe/Berlin", {"TZ": tz})) == []


def test_a_zone_file_that_is_cut_off_is_none(tmp_path: Path) -> None:
    """At each of its bytes: a warning, or a zone."""
    whole = Path("/usr/share/zoneinfo/Europe/Berlin").read_bytes()
    for size in range(0, len(whole), 41):
        (tmp_path / "cut").write_bytes(whole[:size])
        list(zone_notes(None, {"TZ": f"{tmp_path}/cut"}))


@pytest.mark.parametrize(
    "tz", ["", ":", "UTC", "Europe/Berlin", ":Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3", None]
)
def test_a_plain_zone_has_no_note(tz: str | None) -> None:
    """Nor has a terminal that says none."""
    assert list(zone_notes(None, {} if tz is None else {"TZ": tz})) == []


def test_a_zone_without_daylight_saving_time_is_noted() -> None:
    """By the option and by the variable."""
    (by_option,) = zone_notes("EST", {})
    (by_variable,) = zone_notes(None, {"TZ": ":EST"})
    assert by_option.startswith("note: --timezone: EST is UTC-05:00 all the year")
    assert by_variable.startswith("note: TZ: EST is UTC-05:00 all the year")


@pytest.mark.parametrize("name", ["PST", "GMT+2", "Z"])
def test_an_abbreviation_is_refused_as_an_option(name: str) -> None:
    """Before anything is done, and no neighbour in spelling is offered."""
    with pytest.raises(click.UsageError, match=r"--timezone: .* is not a time zone: ") as caught:
        terminal_zone(name, {})
    assert "did you mean" not in str(caught.value)


def test_a_job_file_has_the_same_words(tmp_path: Path) -> None:
    """An error for what is none, a warning for one without daylight saving time."""
    path = tmp_path / "jobs.yaml"
    for name, code, says in (
        ("CEST", 2, "error: `timezone`: 'CEST' is not a time zone"),
        ("EST", 0, "warning: `timezone`: EST is UTC-05:00"),
    ):
        path.write_text(
            f"version: 1\ntimezone: {name}\norganizations: {{acme: {{token_env: T}}}}\n"
            "jobs: [{name: a, tests: ['1'], windows: [{last: 1h}]}]\n"
        )
        told = ran("validate", str(path))
        assert (told.code, says in told.stderr) == (code, True), told.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("tz", "says"), [("Nowhere", "warning: TZ='Nowhere' is not a time zone"), (":/etc/localtime", "")]
)
def test_the_warning_is_said_once_by_a_command(tz: str, says: str, tmp_path: Path) -> None:
    """On standard error, in a process of its own whose C library reads TZ too."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "runs"],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.defpath, "HOME": str(tmp_path), "TZ": tz, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.stderr.count("warning") == bool(says)
    assert says in done.stderr
