"""Clock times, days and windows as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.jobs import Window
from orchestrator.windows.notation import clock_time, window_text
from orchestrator.windows.windows import LENGTHS

BERLIN, UTC_ZONE, SAO_PAULO = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), ZoneInfo("America/Sao_Paulo")
NOW = 1_795_184_810.0  # 2026-11-20T14:26:50Z, 15:26:50 in Berlin
HOUR, DAY = 3600, 86_400
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
SECONDS = st.integers(946_857_600, 2_082_758_400)  # from 3 January 2000 to 2035


def utc(text: str) -> int:
    """The epoch second of an ISO text in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_a_time_on_another_day_has_its_date() -> None:
    """A clock time of tomorrow is not taken for today's; of another year neither."""
    assert clock_time(NOW + DAY, NOW, BERLIN) == "21 Nov 15:26 CET"
    assert clock_time(NOW + 60 * DAY, NOW, BERLIN) == "19 Jan 2027 15:26 CET"
    assert clock_time(NOW, NOW, SAO_PAULO) == "11:26 UTC-03"


@pytest.mark.parametrize(
    ("start", "end", "zone", "now", "text"),
    [
        (1_795_180_800, 1_795_188_000, BERLIN, NOW, "13:20–15:20 UTC (14:20–16:20 CET)"),
        (1_795_180_800, 1_795_188_000, BERLIN, None, "20 Nov 13:20–15:20 UTC (14:20–16:20 CET)"),
        (1_795_180_800, 1_795_188_000, UTC_ZONE, NOW, "13:20–15:20 UTC"),
        (1_795_180_805, 1_795_188_005, UTC_ZONE, NOW, "13:20:05–15:20:05 UTC"),
        (
            1_795_217_400,
            1_795_219_200,
            BERLIN,
            None,
            "20 Nov 23:30–21 Nov 00:00 UTC (21 Nov 00:30–01:00 CET)",
        ),
        (1_792_886_400, 1_792_893_600, BERLIN, None, "25 Oct 00:00–02:00 UTC (02:00 CEST–03:00 CET)"),
    ],
)
def test_a_window_is_shown_in_utc_and_local_time(
    start: int, end: int, zone: ZoneInfo, now: float | None, text: str
) -> None:
    """UTC first, then the local time; dates where they are not plain, both zones on a DST night."""
    assert window_text(Window(start=start, end=end), zone, now) == text


@pytest.mark.parametrize(
    ("start", "seconds", "timezone", "expected"),
    [
        ("2026-11-20T13:20:00", 2 * HOUR, "Europe/Berlin", "13:20–15:20 UTC (14:20–16:20 CET)"),
        ("2026-11-20T13:20:30", 2 * HOUR, "Europe/Berlin", "13:20:30–15:20:30 UTC (14:20:30–16:20:30 CET)"),
        ("2026-11-20T13:20:00", 2 * HOUR, "UTC", "13:20–15:20 UTC"),
        ("2026-11-20T13:20:00", 2 * HOUR, "Etc/UTC", "13:20–15:20 UTC"),
        ("2026-11-20T13:20:00", 2 * HOUR, "Europe/London", "13:20–15:20 UTC"),
        ("2026-11-20T13:20:00", 2 * HOUR, "Asia/Kathmandu", "13:20–15:20 UTC (19:05–21:05 UTC+0545)"),
        (
            "2026-11-20T10:00:00",
            HOUR,
            "Asia/Tokyo",
            "10:00–11:00 UTC (19:00–20:00 JST)",
        ),
        (
            "2026-11-19T13:20:00",
            2 * HOUR,
            "Europe/Berlin",
            "19 Nov 13:20–15:20 UTC (14:20–16:20 CET)",
        ),
        (
            "2026-11-19T22:30:00",
            HOUR,
            "Europe/Berlin",
            "19 Nov 22:30–23:30 UTC (23:30–20 Nov 00:30 CET)",
        ),
        (
            "2026-10-25T00:30:00",
            HOUR,
            "Europe/Berlin",
            "25 Oct 00:30–01:30 UTC (02:30 CEST–02:30 CET)",
        ),
    ],
)
def test_a_window_in_a_zone_is_dated_where_it_is_not_today(
    start: str, seconds: int, timezone: str, expected: str
) -> None:
    """UTC first, then the zone with its abbreviation; dates where the times alone would mislead."""
    window = Window(start=utc(start), end=utc(start) + seconds)
    assert window_text(window, ZoneInfo(timezone), NOW) == expected


@given(SECONDS, st.sampled_from(LENGTHS), ZONES)
def test_a_window_has_the_abbreviation_of_its_zone(start: int, length: int, timezone: str) -> None:
    """Any window in any zone has a text, dated when it is of another day."""
    day, zone = datetime.fromtimestamp(start, UTC), ZoneInfo(timezone)
    text = window_text(Window(start=start, end=start + length), zone, start + 100 * DAY)
    assert text.startswith(f"{day.day} {day:%b}")
    assert (datetime.fromtimestamp(start + length, zone).tzname() or "") in text or text.endswith(" UTC")
