"""Windows: which ones are refused and in what words, and what the others come to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from zoneinfo import available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.core.clock import utc_text
from orchestrator.core.errors import UsageError, WindowError
from orchestrator.core.jobs import Fit, Window, WindowSpec
from orchestrator.windows.instants import local
from orchestrator.windows.windows import LENGTHS, age_warning, check_window, resolve_window, split_length

HOUR, DAY = 3600, 86_400
BERLIN = "Europe/Berlin"
NOW = datetime(2026, 11, 20, 15, 30, 45, tzinfo=UTC).timestamp()
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"}))
SECONDS = st.integers(946_857_600, 2_082_758_400)  # from 3 January 2000 to 2035
CLOCKS = st.times().map(lambda moment: f"{moment:%H:%M}")


def utc(text: str) -> int:
    """The epoch second of an ISO text in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def span(window: Window) -> tuple[str, str]:
    """The window as UTC texts."""
    return utc_text(window.start), utc_text(window.end)


def from_to(start: str, end: str, fit: Fit = Fit.EXACT, timezone: str | None = None) -> WindowSpec:
    """A window written with start and end."""
    return WindowSpec(start=start, end=end, fit=fit, timezone=timezone)


START = "2026-11-20T10:00:00Z"
FORMS = "a window is start and end, start or end with duration, last (with until), or around with duration"


@pytest.mark.parametrize(
    ("spec", "key", "says"),
    [
        (WindowSpec(), None, f"an empty window: {FORMS}"),
        (WindowSpec(start=START), "start", "start needs end or duration"),
        (WindowSpec(end=START), "end", "end needs start or duration"),
        (WindowSpec(duration=HOUR), "duration", "duration needs start or end or around"),
        (WindowSpec(around=START), "around", "around needs duration"),
        (WindowSpec(until="00:00"), "until", "until needs last"),
        (
            WindowSpec(start=START, end=START, duration=HOUR),
            "duration",
            f"duration cannot be combined with start and end: {FORMS}",
        ),
        (WindowSpec(last=HOUR, duration=HOUR), "duration", f"duration cannot be combined with last: {FORMS}"),
        (
            WindowSpec(last=HOUR, until="00:00", end=START),
            "end",
            f"end cannot be combined with last and until: {FORMS}",
        ),
        (
            WindowSpec(around=START, end=START, duration=HOUR),
            "around",
            f"around cannot be combined with end and duration: {FORMS}",
        ),
        (
            WindowSpec(last=HOUR, timezone="Europe/Berln"),
            "timezone",
            "'Europe/Berln' is not a time zone: did you mean Europe/Berlin?",
        ),
        (from_to("2026-13-01T10:00Z", START), "start", "'2026-13-01T10:00Z': there is no month 13"),
        (
            from_to(START, "2026-11-20 11:00"),
            "end",
            (
                "'2026-11-20 11:00' has no zone: write 2026-11-20T11:00:00Z,"
                " an offset such as +01:00 instead of the Z, or set timezone"
            ),
        ),
        (
            WindowSpec(around="noon", duration=HOUR),
            "around",
            (
                "'noon' is not a time: write 2026-11-20T14:00:00Z, 2026-11-20T14:00:00+01:00"
                " or, in a timezone, 2026-11-20 14:00"
            ),
        ),
        (
            from_to("2026-11-20T10:00:00.5Z", "2026-11-20T11:00:00Z"),
            "start",
            "'2026-11-20T10:00:00.5Z' is not a full second: write 2026-11-20T10:00:00Z",
        ),
        (
            from_to(START, "2026-11-20T09:00:00Z"),
            "end",
            f"end '2026-11-20T09:00:00Z' is before start '{START}': swap them",
        ),
        (
            from_to(START, START),
            "end",
            f"end is the same instant as start, '{START}': a window cannot be empty",
        ),
        (WindowSpec(last=0), "last", "a window cannot be empty: write a duration over zero, such as 1h"),
        (
            WindowSpec(start=START, duration=-HOUR),
            "duration",
            "a window cannot be empty: write a duration over zero, such as 1h",
        ),
        (
            WindowSpec(last=float("nan")),
            "last",
            "a window cannot be empty: write a duration over zero, such as 1h",
        ),
        (WindowSpec(last=1.5), "last", "1s500ms is not in full seconds: write 2s"),
        (WindowSpec(last=HOUR, until="24:00"), "until", "'24:00': midnight is written 00:00"),
        (
            WindowSpec(last=HOUR, until="9 am"),
            "until",
            "'9 am' is not a time of day: write HH:MM, such as 14:07",
        ),
        (
            WindowSpec(last=3 * HOUR),
            "last",
            (
                "the window's length is 3h, which the API does not take: write 2h or 4h,"
                " or fit: cover (4h, starting earlier) or fit: split (2h + 1h)"
            ),
        ),
        (
            WindowSpec(start=START, duration=90 * 60),
            "duration",
            (
                "the window's length is 1h30m, which the API does not take: write 1h or 2h,"
                " or fit: cover (2h, starting earlier) or fit: split (2h)"
            ),
        ),
        (
            from_to(START, "2026-11-20T10:20:00Z"),
            "end",
            (
                "start to end is 20m, which the API does not take:"
                " write 1h, or fit: cover (1h, starting earlier)"
            ),
        ),
        (
            from_to("2026-10-25 00:00", "2026-10-26 00:00", timezone=BERLIN),
            "end",
            (
                "start to end is 25h (the clocks change in between), which the API does not take:"
                " write 24h or 48h,"
                " or fit: cover (48h, starting earlier) or fit: split (24h + 1h)"
            ),
        ),
        (
            WindowSpec(last=60 * HOUR, fit=Fit.COVER),
            "last",
            "the window's length is 2d12h, which the API does not take: write 48h, or fit: split (48h + 12h)",
        ),
        (
            WindowSpec(last=30 * DAY),
            "last",
            "the window's length is 30d, which the API does not take: write 48h, or fit: split (15 windows)",
        ),
        (
            WindowSpec(last=91 * DAY, fit=Fit.SPLIT),
            "last",
            "the window's length is 91d, longer than ThousandEyes keeps data (90d): write a shorter one",
        ),
    ],
)
def test_says_what_is_wrong_with_a_window(spec: WindowSpec, key: str | None, says: str) -> None:
    """Every refusal names the key at fault and what to write instead, and resolving refuses alike."""
    with pytest.raises(WindowError) as caught:
        check_window(spec)
    assert (caught.value.key, str(caught.value)) == (key, says)
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(WindowError, match=r"."):
        resolve_window(spec, now=NOW)


def test_only_the_documented_keys_go_together() -> None:
    """Of all combinations of keys exactly the documented six are a window."""
    values = {
        "start": START,
        "end": "2026-11-20T11:00:00Z",
        "duration": HOUR,
        "last": HOUR,
        "until": "00:00",
        "around": START,
    }
    allowed = set()
    for size in range(len(values) + 1):
        for keys in combinations(values, size):
            spec = replace(WindowSpec(), **{key: values[key] for key in keys})  # type: ignore[arg-type]  # mixed values
            try:
                check_window(spec)
            except WindowError as error:
                assert error.key in (*keys, None)  # noqa: PT017 - the key is part of the promise
            else:
                allowed.add(" ".join(keys))
    assert allowed == {"start end", "start duration", "end duration", "last", "last until", "duration around"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (from_to(START, "2026-11-20T12:00:00Z"), ("2026-11-20T10:00:00Z", "2026-11-20T12:00:00Z")),
        (WindowSpec(start=START, duration=6 * HOUR), ("2026-11-20T10:00:00Z", "2026-11-20T16:00:00Z")),
        (WindowSpec(end=START, duration=4 * HOUR), ("2026-11-20T06:00:00Z", "2026-11-20T10:00:00Z")),
        (WindowSpec(around=START, duration=HOUR), ("2026-11-20T09:30:00Z", "2026-11-20T10:30:00Z")),
        (WindowSpec(last=HOUR), ("2026-11-20T14:30:00Z", "2026-11-20T15:30:00Z")),
        (WindowSpec(last=HOUR, until="15:30"), ("2026-11-20T14:30:00Z", "2026-11-20T15:30:00Z")),
        (WindowSpec(last=HOUR, until="15:31"), ("2026-11-19T14:31:00Z", "2026-11-19T15:31:00Z")),
        (
            WindowSpec(last=24 * HOUR, until="00:00", timezone=BERLIN),
            ("2026-11-18T23:00:00Z", "2026-11-19T23:00:00Z"),
        ),
        (
            from_to("2026-11-20 11:00", "2026-11-20T13:00:00+01:00", timezone=BERLIN),
            ("2026-11-20T10:00:00Z", "2026-11-20T12:00:00Z"),
        ),
    ],
)
@pytest.mark.parametrize("fit", list(Fit))
def test_every_form_of_an_allowed_length_is_itself(
    spec: WindowSpec, expected: tuple[str, str], fit: Fit
) -> None:
    """A length that the API takes is left alone by every fit and needs no note."""
    resolution = resolve_window(replace(spec, fit=fit), now=NOW)
    assert [span(window) for window in resolution.windows] == [expected]
    assert resolution.notes == ()


@pytest.mark.parametrize(
    ("second", "end"),
    [(29.9, "15:29:00"), (30.0, "15:30:00"), (59.9, "15:30:00"), (0.0, "15:29:00")],
)
def test_last_ends_at_a_full_minute_at_least_30_s_ago(second: float, end: str) -> None:
    """The end is a full minute for which data had half a minute to arrive."""
    now = utc("2026-11-20T15:30:00") + second
    assert span(resolve_window(WindowSpec(last=HOUR), now=now).windows[0])[1] == f"2026-11-20T{end}Z"


def test_cover_moves_the_start_back_and_says_so() -> None:
    """The end stays, the start goes back to the smallest length that covers what was asked for."""
    spec = from_to("2026-11-20 14:10", "2026-11-20 17:15:30", Fit.COVER, BERLIN)
    resolution = resolve_window(spec, now=NOW)
    assert span(resolution.windows[0]) == ("2026-11-20T12:15:30Z", "2026-11-20T16:15:30Z")
    assert resolution.notes == (
        "the start moves back from 2026-11-20 14:10 CET to 2026-11-20 13:15:30 CET: 3h5m30s becomes 4h",
    )


@given(st.integers(1, 48 * HOUR))
def test_cover_takes_the_smallest_length_that_is_enough(length: int) -> None:
    """The window contains the one asked for, ends with it and could not be shorter."""
    resolution = resolve_window(WindowSpec(end=START, duration=length, fit=Fit.COVER), now=NOW)
    (window,) = resolution.windows
    assert window.end == utc("2026-11-20T10:00:00")
    assert window.seconds == min(allowed for allowed in LENGTHS if allowed >= length)
    assert len(resolution.notes) == (window.seconds != length)


def test_split_tiles_from_the_start_the_longest_first() -> None:
    """Whole hours are tiled exactly, without a note."""
    resolution = resolve_window(WindowSpec(start=START, duration=11 * HOUR, fit=Fit.SPLIT), now=NOW)
    assert [span(window) for window in resolution.windows] == [
        ("2026-11-20T10:00:00Z", "2026-11-20T16:00:00Z"),
        ("2026-11-20T16:00:00Z", "2026-11-20T20:00:00Z"),
        ("2026-11-20T20:00:00Z", "2026-11-20T21:00:00Z"),
    ]
    assert resolution.notes == ()


@given(st.integers(1, 90 * DAY))
def test_split_covers_without_gap_or_overlap(length: int) -> None:
    """The tiles are allowed lengths, touch, end where asked and start less than an hour early, as noted."""
    resolution = resolve_window(WindowSpec(end=START, duration=length, fit=Fit.SPLIT), now=NOW)
    tiles = resolution.windows
    assert all(tile.seconds in LENGTHS for tile in tiles)
    assert all(one.end == other.start for one, other in pairwise(tiles))
    assert tiles[-1].end == utc("2026-11-20T10:00:00")
    early = tiles[-1].end - length - tiles[0].start
    assert 0 <= early < HOUR
    assert len(resolution.notes) == (early > 0)


def test_split_takes_the_fewest_windows() -> None:
    """No other choice of lengths adds up to the same hours with fewer windows."""
    fewest = {0: 0}
    for hours in range(1, 90 * 24 + 1):
        fewest[hours] = 1 + min(fewest[hours - size // HOUR] for size in LENGTHS if size <= hours * HOUR)
        assert len(split_length(hours * HOUR)) == fewest[hours]
        assert sum(split_length(hours * HOUR)) == hours * HOUR


@given(SECONDS, st.floats(0, DAY), ZONES, CLOCKS, st.sampled_from(LENGTHS))
@example(utc("2026-10-24T22:00:00"), 80_000.5, BERLIN, "00:00", 24 * HOUR)
@example(utc("2026-03-28T23:00:00"), 80_000.5, BERLIN, "02:30", 24 * HOUR)
@example(utc("2011-12-29T16:00:00"), 80_000.5, "Pacific/Apia", "06:00", 24 * HOUR)
def test_a_nightly_window_is_the_same_however_late(
    now: int, late: float, timezone: str, until: str, last: int
) -> None:
    """A start after the end of a window gives that window until the next one has ended, DST or not."""
    spec = WindowSpec(last=last, until=until, timezone=timezone)
    (first,) = resolve_window(spec, now=now).windows
    (again,) = resolve_window(spec, now=now + late).windows
    assert resolve_window(spec, now=first.end).windows == (first,)
    assert first.end <= now
    assert again == first or now < again.end <= now + late
    assert first.seconds == again.seconds == last


@given(
    SECONDS, ZONES, st.sampled_from([f"{hour:02}:{minute}" for hour in range(24) for minute in ("00", "30")])
)
@example(utc("2011-12-28T16:00:00"), "Pacific/Apia", "06:00")
def test_nightly_windows_say_what_they_leave_out_or_add(now: int, timezone: str, until: str) -> None:
    """24h until a clock time has a note exactly when it does not start where the one before it ended."""
    spec = WindowSpec(last=DAY, until=until, timezone=timezone)
    latest = resolve_window(spec, now=now)
    (window,) = latest.windows
    (before,) = resolve_window(spec, now=window.end - 1).windows
    elapsed = [note for note in latest.notes if "elapsed" in note]
    assert bool(elapsed) == (before.end != window.start)
    assert all(("left out" in note) == (before.end < window.start) for note in elapsed)


@pytest.mark.parametrize(
    ("spec", "note"),
    [
        (
            WindowSpec(last=DAY, until="00:00"),
            (
                "24h is elapsed time and the clocks change:"
                " 2026-10-25 00:00 CEST to 2026-10-25 01:00 CEST is left out"
            ),
        ),
        (
            WindowSpec(last=2 * DAY, until="00:00"),
            (
                "48h is elapsed time and the clocks change:"
                " 2026-10-24 00:00 CEST to 2026-10-24 01:00 CEST is left out"
            ),
        ),
        (
            WindowSpec(end="2026-03-30 00:00", duration=DAY),
            (
                "24h is elapsed time and the clocks change:"
                " 2026-03-28 23:00 CET to 2026-03-29 00:00 CET is in it as well"
            ),
        ),
        (
            WindowSpec(start="2026-10-25 00:00", duration=DAY),
            (
                "24h is elapsed time and the clocks change:"
                " 2026-10-25 23:00 CET to 2026-10-26 00:00 CET is left out"
            ),
        ),
        (
            WindowSpec(start="2026-03-29 00:00", duration=DAY),
            (
                "24h is elapsed time and the clocks change:"
                " 2026-03-30 00:00 CEST to 2026-03-30 01:00 CEST is in it as well"
            ),
        ),
        (WindowSpec(start="2026-10-24T22:00:00Z", duration=DAY), None),
        (WindowSpec(last=DAY), None),
        (WindowSpec(last=12 * HOUR, until="06:00"), None),
        (from_to("2026-10-25 00:00", "2026-10-25 23:00"), None),
    ],
)
def test_whole_days_over_a_change_of_the_clocks(spec: WindowSpec, note: str | None) -> None:
    """Days counted from a local time say what such a night leaves out; all others have nothing to say."""
    now = utc("2026-10-26T05:00:00")
    resolution = resolve_window(replace(spec, timezone=BERLIN), now=now)
    assert resolution.notes == (() if note is None else (note,))
    assert sum(window.seconds for window in resolution.windows) == (spec.duration or spec.last or DAY)


def test_moved_and_repeated_local_times_are_told() -> None:
    """A window from a gap or a repeated hour carries the note of each."""
    gap = resolve_window(from_to("2026-03-29 02:30", "2026-03-29 04:00", timezone=BERLIN), now=NOW)
    assert span(gap.windows[0]) == ("2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z")
    assert "does not exist in Europe/Berlin" in gap.notes[0]
    nightly = WindowSpec(last=HOUR, until="02:30", timezone=BERLIN)
    repeated = resolve_window(nightly, now=utc("2026-10-25T08:00:00"))
    assert span(repeated.windows[0]) == ("2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z")
    assert "occurs twice in Europe/Berlin" in repeated.notes[0]


@pytest.mark.parametrize(
    ("days", "says"),
    [(29.9, None), (30.1, "may no longer have"), (89.9, "may no longer have"), (90.1, "no longer has")],
)
def test_warns_of_windows_whose_data_is_gone(days: float, says: str | None) -> None:
    """After 30 days the data may be gone, after 90 days it is."""
    start = int(NOW - days * DAY)
    warning = age_warning(Window(start=start, end=start + HOUR), now=NOW)
    assert (warning is None) == (says is None)
    if warning is not None:
        assert f"starts {int(days)} days ago, at {utc_text(start)}: ThousandEyes {says} its data" in warning


@given(SECONDS, ZONES, st.sampled_from(list(Fit)), st.integers(1, 48 * HOUR))
def test_every_resolved_window_is_one_the_api_takes(now: int, timezone: str, fit: Fit, length: int) -> None:
    """Whatever passes the check resolves to whole seconds, allowed lengths and no surprise."""
    wall = local(now, timezone).replace(tzinfo=None) - timedelta(hours=30)
    for spec in (
        WindowSpec(last=length, fit=fit, timezone=timezone),
        WindowSpec(start=f"{wall:%Y-%m-%d %H:%M}", duration=length, fit=fit, timezone=timezone),
        WindowSpec(around=f"{wall:%Y-%m-%dT%H:%M:%S}", duration=length, fit=fit, timezone=timezone),
    ):
        try:
            check_window(spec)
        except WindowError:
            assert fit is Fit.EXACT
            continue
        assert all(window.seconds in LENGTHS for window in resolve_window(spec, now=now).windows)
