"""Time zones: which names are zones, and what is said about those that are none or another one than they seem."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.windows.zones import zone, zone_by_rules, zone_note


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("europe/berlin", "did you mean Europe/Berlin?"),
        ("America/NewYork", "did you mean America/New_York?"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("Asia/Mumbai", "write a name such as Europe/Berlin or UTC"),
        ("europe", "is not a time zone"),
        ("Europe", "is not a time zone"),
        ("", "write a name such as Europe/Berlin or UTC"),
        ("/etc/passwd", "is not a time zone"),
        ("../UTC", "is not a time zone"),
        ("a\0b", "is not a time zone"),
        ("Z", "write UTC"),
    ],
)
def test_an_unknown_zone_gets_a_suggestion(name: str, hint: str) -> None:
    """A zone that does not exist is a readable error, whatever the operating system makes of its name."""
    with pytest.raises(ValueError) as caught:
        zone(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["PST", "CEST", "PDT", "BST", "IST", "GMT+2", "UTC+2", "UTC+02:00", "+02:00", "+0200", "cst", "MSK"],
)
def test_an_abbreviation_is_never_taken_for_its_neighbour_in_spelling(name: str) -> None:
    """PST is not MST, CEST is not EST: another zone by one letter is another time."""
    with pytest.raises(
        ValueError, match=r"write a region such as Europe/Berlin or America/New_York, or UTC"
    ) as caught:
        zone(name)
    assert "did you mean" not in str(caught.value)


@given(st.from_regex(r"[A-Za-z]{2,4}", fullmatch=True))
def test_a_suggestion_for_a_short_name_is_that_name(name: str) -> None:
    """In another case, or with its area before it."""
    try:
        zone(name)
    except ValueError as error:
        hint = str(error).partition("did you mean ")[2].rstrip("?")
        meant = hint.replace(" or ", ", ").split(", ") if hint else []
        assert all(one.rpartition("/")[2].casefold() == name.casefold() for one in meant)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("EST", "UTC-05:00 all the year, without daylight saving time: write America/New_York"),
        ("MST", "UTC-07:00 all the year, without daylight saving time: write America/Denver"),
        ("HST", "UTC-10:00 all the year"),
        ("Etc/GMT+2", "UTC-02:00, as POSIX counts"),
        ("Etc/GMT-5", "UTC+05:00, as POSIX counts"),
    ],
)
def test_a_name_that_seems_another_zone_has_a_note(name: str, says: str) -> None:
    """It is taken as it is, and the offset is said."""
    assert says in (zone_note(name, zone(name)) or "")


def test_a_region_has_no_note() -> None:
    """Nor has UTC."""
    regions = (name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    for name in (*regions, "UTC", "GMT", "Etc/GMT", "CET", "EST5EDT"):
        assert zone_note(name, UTC) is None


def test_rules_that_are_none_are_refused() -> None:
    """The system would read them as UTC without a word."""
    for text in ("EST5EDT,M3", "Foo", "a\nb", "\N{EN DASH}"):
        with pytest.raises(ValueError):
            zone_by_rules(text)


def test_rules_are_read_as_the_system_reads_them() -> None:
    """With summer time in the south too."""
    there = zone_by_rules("CET-1CEST,M3.5.0,M10.5.0/3")
    summer, winter = (datetime(2026, month, 1, tzinfo=UTC).astimezone(there) for month in (7, 12))
    assert (summer.utcoffset(), winter.utcoffset()) == (timedelta(hours=2), timedelta(hours=1))
    assert (summer.tzname(), winter.tzname()) == ("CEST", "CET")
