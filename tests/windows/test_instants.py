"""Instants: what is read and what is shown, in every zone and over every change of the clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.core.clock import utc_text
from orchestrator.core.jobs import Window
from orchestrator.windows.instants import (
    clock_time,
    latest,
    local,
    local_text,
    parse_clock,
    parse_instant,
    parse_moment,
    read_wall,
    window_text,
)
from orchestrator.windows.windows import LENGTHS

BERLIN = "Europe/Berlin"
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
MINUTES = st.integers(946_857_600 // 60, 2_082_758_400 // 60)  # from 3 January 2000 to 2035
CLOCKS = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
NOW = datetime(2026, 11, 20, 15, 30, 45, 500_000, UTC).timestamp()


def utc(text: str) -> float:
    """The epoch second of an ISO text in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def naive(text: str) -> datetime:
    """A wall-clock time, which belongs to no zone yet."""
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "timezone", "expected"),
    [
        ("2026-11-20T14:00:00Z", None, "2026-11-20T14:00:00Z"),
        ("2026-11-20T14:00Z", BERLIN, "2026-11-20T14:00:00Z"),
        ("2026-11-20t14:00:00z", None, "2026-11-20T14:00:00Z"),
        ("2026-11-20 14:00 UTC", BERLIN, "2026-11-20T14:00:00Z"),
        ("2026-11-20T14:00:00+01:00", None, "2026-11-20T13:00:00Z"),
        ("2026-11-20T14:00-0530", None, "2026-11-20T19:30:00Z"),
        ("2026-11-20T14:00+14", None, "2026-11-20T00:00:00Z"),
        ("2026-11-20 14:00", BERLIN, "2026-11-20T13:00:00Z"),
        ("2026-11-20T14:00:05", BERLIN, "2026-11-20T13:00:05Z"),
        ("2026-07-20 9:00", BERLIN, "2026-07-20T07:00:00Z"),
        ("2026-11-20T14:00:00.999999999Z", None, "2026-11-20T14:00:00Z"),
    ],
)
def test_reads_an_instant(text: str, timezone: str | None, expected: str) -> None:
    """ISO 8601 with a zone means itself, a wall clock the zone's time."""
    at, notes = parse_instant(text, timezone=timezone)
    assert utc_text(at) == expected
    assert notes == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-13-01 10:00", "'2026-13-01 10:00': there is no month 13"),
        ("2026-00-01 10:00", "there is no month 00"),
        ("2026-11-31 10:00", "there is no day 31 in 2026-11"),
        ("2026-02-29 10:00", "there is no day 29 in 2026-02"),
        ("2206-11-20T14:00Z", "the year 2206 is not between 2000 and 2099"),
        ("2026-11-30T24:00", "midnight is written as the start of a day: 2026-12-01 00:00"),
        ("2026-11-20T24:01", "hours go from 00 to 23, not to 24"),
        ("2026-11-20T14:60", "minutes go from 00 to 59, not to 60"),
        ("2026-12-31T23:59:60Z", "seconds go from 00 to 59, not to 60"),
        ("2026-11-20", "has no time of day: write 2026-11-20 00:00 for its first moment"),
        ("2026-11-20T14:00+15:00", "no zone is +15:00 from UTC"),
        ("2026-11-20T14:00+01:99", "no zone is +01:99 from UTC"),
        ("2026-W47-5T14:00Z", "'2026-W47-5T14:00Z' is not a time: write 2026-11-20T14:00:00Z,"),
        ("2026-324T14:00Z", "is not a time"),
        ("20261120T140000Z", "is not a time"),
        ("2026-11-20T14:00 CET", "is not a time"),
        ("20.11.2026 14:00", "is not a time"),
        ("14:00", "is not a time"),
        ("", "'' is not a time"),
        ("٢٠٢٦-11-20T14:00Z", "is not a time"),
        ("x" * 500, "'" + "x" * 59 + "…' is not a time"),
    ],
)
def test_refuses_what_is_not_an_instant(text: str, says: str) -> None:
    """The error quotes the text, names what is wrong and what to write instead."""
    with pytest.raises(ValueError) as caught:
        parse_instant(text, timezone=BERLIN)
    assert says in str(caught.value)


def test_a_wall_clock_needs_a_zone() -> None:
    """Without a timezone the error shows both ways out."""
    with pytest.raises(ValueError, match=r"write 2026-11-20T14:00:00Z, an offset .* or set timezone"):
        parse_instant("2026-11-20 14:00", timezone=None)


@pytest.mark.parametrize(
    ("text", "timezone", "expected", "taken"),
    [
        ("2026-03-29 02:30", BERLIN, "2026-03-29T01:00:00Z", "taken as 2026-03-29 03:00 CEST"),
        ("2026-03-29 02:00", BERLIN, "2026-03-29T01:00:00Z", "taken as 2026-03-29 03:00 CEST"),
        ("2026-10-04 02:10", "Australia/Lord_Howe", "2026-10-03T15:30:00Z", "2026-10-04 02:30 +11"),
        ("2011-12-30 10:00", "Pacific/Apia", "2011-12-30T10:00:00Z", "taken as 2011-12-31 00:00 +14"),
        ("2026-10-25 02:30", BERLIN, "2026-10-25T00:30:00Z", "first is taken, 2026-10-25T02:30:00+02:00"),
        ("2026-04-05 01:40", "Australia/Lord_Howe", "2026-04-04T14:40:00Z", "first is taken"),
    ],
)
def test_says_where_a_local_time_was_not_plain(text: str, timezone: str, expected: str, taken: str) -> None:
    """A time in a gap is the first valid minute after it, a repeated one is the first, both with a note."""
    at, notes = parse_instant(text, timezone=timezone)
    assert utc_text(at) == expected
    assert len(notes) == 1
    assert taken in notes[0]


@given(MINUTES, ZONES)
def test_a_local_time_that_exists_reads_back(minute: int, timezone: str) -> None:
    """Any instant, written as its zone's wall clock, is itself or the first of the two it could be."""
    moment = local(minute * 60, timezone)
    at, notes = parse_instant(f"{moment:%Y-%m-%d %H:%M:%S}", timezone=timezone)
    assert local(at, timezone).replace(tzinfo=None, fold=0) == moment.replace(tzinfo=None, fold=0)
    assert at == minute * 60 or (at < minute * 60 and len(notes) == 1)


@given(st.datetimes(naive("2000-01-02"), naive("2035-01-01")), ZONES)
@example(naive("2011-12-30 10:00"), "Pacific/Apia")
@example(naive("2026-10-04 02:29"), "Australia/Lord_Howe")
def test_a_wall_clock_is_never_before_itself(wall: datetime, timezone: str) -> None:
    """The instant shows the wall clock, or the zone's clocks skip from before it to the instant."""
    wall = wall.replace(microsecond=0)
    reading = read_wall(wall, timezone)
    shows = local(reading.at, timezone).replace(tzinfo=None, fold=0)
    assert shows >= wall
    if shows > wall:
        assert local(reading.at - 1, timezone).replace(tzinfo=None, fold=0) < wall
        assert reading.at % 60 == 0
        assert len(reading.notes) == 1


@pytest.mark.parametrize(
    ("timezone", "clock", "now", "expected"),
    [
        # Apia at 02:00 on 31 December 2011: the date before it is the 29th.
        ("Pacific/Apia", time(6), "2011-12-30T12:00:00", "2011-12-29T16:00:00Z"),
        ("Pacific/Apia", time(6), "2011-12-30T16:00:00", "2011-12-30T16:00:00Z"),
        (BERLIN, time(2, 30), "2026-03-29T00:59:59", "2026-03-28T01:30:00Z"),
        (BERLIN, time(2, 30), "2026-03-29T01:00:00", "2026-03-29T01:00:00Z"),
        (BERLIN, time(2, 30), "2026-10-25T01:45:00", "2026-10-25T00:30:00Z"),
        # St. John's put the clocks back from 00:01 to 23:01: at 23:30 midnight has been once.
        ("America/St_Johns", time(0), "2006-10-29T03:00:00", "2006-10-29T02:30:00Z"),
        (None, time(14), "2026-11-20T14:00:00", "2026-11-20T14:00:00Z"),
        (None, time(14), "2026-11-20T13:59:59", "2026-11-19T14:00:00Z"),
    ],
)
def test_latest_is_found_around_every_kind_of_change(
    timezone: str | None, clock: time, now: str, expected: str
) -> None:
    """Gaps, repeated hours, a skipped date and clocks put back over midnight each have one latest time."""
    assert utc_text(latest(clock, now=utc(now), timezone=timezone).at) == expected


@given(MINUTES, ZONES, CLOCKS, st.integers(0, 86_400))
@example(utc("2011-12-29T16:00:00") // 60, "Pacific/Apia", time(6), 80_000)
@example(utc("2026-04-04T13:00:00") // 60, "Australia/Lord_Howe", time(1, 40), 40_000)
def test_latest_is_the_same_until_the_next(minute: float, timezone: str, clock: time, late: int) -> None:
    """Asked again later, the answer is the same, or one that has come about in the meantime."""
    now = minute * 60
    first, again = (latest(clock, now=at, timezone=timezone).at for at in (now, now + late))
    assert first <= now
    assert again == first or now < again <= now + late


@given(MINUTES, ZONES, CLOCKS)
def test_latest_is_the_highest_of_all_dates(minute: int, timezone: str, clock: time) -> None:
    """It equals the last of a plain list of that time on every date around."""
    now = minute * 60
    first = local(now, timezone).date() - timedelta(days=6)
    dates = [first + timedelta(days=day) for day in range(10)]
    seen = {
        local(now + hour * 3600 + extra, timezone).date() for hour in range(-150, 50) for extra in (0, 1799)
    }
    walls = [datetime.combine(day, clock) for day in dates if day in seen]
    listed = [read_wall(wall, timezone).at for wall in walls]
    assert latest(clock, now=now, timezone=timezone).at == max(at for at in listed if at <= now)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-20T15:30:45Z"),
        ("2 h ago", "2026-11-20T13:30:45Z"),
        ("2h ago", "2026-11-20T13:30:45Z"),
        ("90m ago", "2026-11-20T14:00:45Z"),
        ("1h 30m ago", "2026-11-20T14:00:45Z"),
        ("14:07", "2026-11-20T13:07:00Z"),
        ("14:07:30", "2026-11-20T13:07:30Z"),
        ("16:30:45", "2026-11-20T15:30:45Z"),
        ("16:30:46", "2026-11-19T15:30:46Z"),
        ("23:00", "2026-11-19T22:00:00Z"),
        ("today 09:30", "2026-11-20T08:30:00Z"),
        ("Yesterday  14:00", "2026-11-19T13:00:00Z"),
        ("2026-11-20 14:00", "2026-11-20T13:00:00Z"),
        ("2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z"),
    ],
)
def test_reads_what_is_typed_in_an_incident(text: str, expected: str) -> None:
    """A clock time is the latest one, words count from now in the terminal's zone."""
    at, notes = parse_moment(text, now=NOW, timezone=BERLIN)
    assert utc_text(at) == expected
    assert at % 1 == 0
    assert notes == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yesterday", "'yesterday' is not a time: write 14:07, '2h ago', 'yesterday 14:00', now, or 2026"),
        ("yesterday 25:00", "hours go from 00 to 23, not to 25"),
        ("today noon", "'noon' is not a time of day: write HH:MM or HH:MM:SS, such as 14:07"),
        ("24:00", "'24:00': midnight is written 00:00"),
        ("14.07", "is not a time"),
        ("ago", "'ago': '' is not a duration"),
        ("90 ago", "'90 ago': '90' has no unit: write 90s, 90m, 90h or 90d"),
        ("2026-11-31 14:00", "there is no day 31 in 2026-11"),
    ],
)
def test_refuses_what_is_no_moment(text: str, says: str) -> None:
    """In an incident, too, the error says what to type instead."""
    with pytest.raises(ValueError) as caught:
        parse_moment(text, now=NOW, timezone=BERLIN)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("now", "expected", "which"),
    [
        ("2026-10-25T00:45:00", "2026-10-25T00:30:00Z", "first is taken"),
        ("2026-10-25T01:29:00", "2026-10-25T00:30:00Z", "first is taken"),
        ("2026-10-25T01:30:00", "2026-10-25T01:30:00Z", "second is taken"),
    ],
)
def test_a_typed_time_in_a_repeated_hour_is_the_latest(now: str, expected: str, which: str) -> None:
    """In the hour that a night has twice a typed time is the most recent one, and the other is named."""
    at, notes = parse_moment("02:30", now=utc(now), timezone=BERLIN)
    assert utc_text(at) == expected
    assert which in notes[0]


def test_moments_without_a_zone_are_utc() -> None:
    """A terminal without a known zone is taken to be in UTC."""
    assert utc_text(parse_moment("14:07", now=NOW, timezone=None)[0]) == "2026-11-20T14:07:00Z"
    assert utc_text(parse_moment("2026-11-20 14:07", now=NOW, timezone=None)[0]) == "2026-11-20T14:07:00Z"


@pytest.mark.parametrize("text", ["24:00", "14", "14:7", "14:07:00", "25:00", "14:60", "noon", ""])
def test_refuses_what_is_no_time_of_day(text: str) -> None:
    """Only HH:MM is a time of day where seconds have no place."""
    with pytest.raises(ValueError, match=r"time of day|midnight|go from"):
        parse_clock(text)


def test_instants_are_written_in_utc_and_in_the_zone() -> None:
    """UTC drops fractions, the zone's text has its abbreviation, and seconds only where there are any."""
    assert utc_text(NOW) == "2026-11-20T15:30:45Z"
    assert local_text(NOW, BERLIN) == "2026-11-20 16:30:45 CET"
    assert local_text(utc("2026-07-20T12:00:00"), BERLIN) == "2026-07-20 14:00 CEST"
    assert local_text(utc("2026-07-20T12:00:00"), None) == "2026-07-20 12:00 UTC"
    assert local(0, BERLIN) == datetime(1970, 1, 1, 1, tzinfo=ZoneInfo(BERLIN))
    assert local(0, None).date() == date(1970, 1, 1)


IN_BERLIN, UTC_ZONE, SAO_PAULO = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC"), ZoneInfo("America/Sao_Paulo")
AFTERNOON = 1_795_184_810.0  # 2026-11-20T14:26:50Z, 15:26:50 in Berlin
HOUR, DAY = 3600, 86_400
SECONDS = st.integers(946_857_600, 2_082_758_400)  # from 3 January 2000 to 2035


def second(text: str) -> int:
    """The whole epoch second of an ISO text in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_a_time_on_another_day_has_its_date() -> None:
    """A clock time of tomorrow is not taken for today's; of another year neither."""
    assert clock_time(AFTERNOON + DAY, AFTERNOON, IN_BERLIN) == "21 Nov 15:26 CET"
    assert clock_time(AFTERNOON + 60 * DAY, AFTERNOON, IN_BERLIN) == "19 Jan 2027 15:26 CET"
    assert clock_time(AFTERNOON, AFTERNOON, SAO_PAULO) == "11:26 UTC-03"


@pytest.mark.parametrize(
    ("start", "end", "zone", "now", "text"),
    [
        (1_795_180_800, 1_795_188_000, IN_BERLIN, AFTERNOON, "13:20–15:20 UTC (14:20–16:20 CET)"),
        (1_795_180_800, 1_795_188_000, IN_BERLIN, None, "20 Nov 13:20–15:20 UTC (14:20–16:20 CET)"),
        (1_795_180_800, 1_795_188_000, UTC_ZONE, AFTERNOON, "13:20–15:20 UTC"),
        (1_795_180_805, 1_795_188_005, UTC_ZONE, AFTERNOON, "13:20:05–15:20:05 UTC"),
        (
            1_795_217_400,
            1_795_219_200,
            IN_BERLIN,
            None,
            "20 Nov 23:30–21 Nov 00:00 UTC (21 Nov 00:30–01:00 CET)",
        ),
        (1_792_886_400, 1_792_893_600, IN_BERLIN, None, "25 Oct 00:00–02:00 UTC (02:00 CEST–03:00 CET)"),
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
    window = Window(start=second(start), end=second(start) + seconds)
    assert window_text(window, ZoneInfo(timezone), AFTERNOON) == expected


@given(SECONDS, st.sampled_from(LENGTHS), ZONES)
def test_a_window_has_the_abbreviation_of_its_zone(start: int, length: int, timezone: str) -> None:
    """Any window in any zone has a text, dated when it is of another day."""
    day, zone = datetime.fromtimestamp(start, UTC), ZoneInfo(timezone)
    text = window_text(Window(start=start, end=start + length), zone, start + 100 * DAY)
    assert text.startswith(f"{day.day} {day:%b}")
    assert (datetime.fromtimestamp(start + length, zone).tzname() or "") in text or text.endswith(" UTC")
