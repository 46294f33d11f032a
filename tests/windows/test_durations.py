"""Durations: what is read, what is refused and how they are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.windows.durations import DAY, HOUR, LONGEST, format_duration, parse_duration
from orchestrator.windows.windows import LENGTHS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", 5400),
        ("90m", 5400),
        ("250ms", 0.25),
        ("1m5ms", 60.005),
        ("2d", 2 * DAY),
        ("1d1h1m1s1ms", 90061.001),
        ("0s", 0),
        (" 5m ", 300),
    ],
)
def test_reads_a_duration(text: str, seconds: float) -> None:
    """Digits with a unit, chained or not, are seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("90", "'90' has no unit: write 90s, 90m, 90h or 90d"),
        ("30m1h", "'30m1h' has its units out of order: write 1h30m"),
        ("5ms1s", "'5ms1s' has its units out of order: write 1s5ms"),
        ("1h1h", "'1h1h' has the unit h twice: add the numbers up"),
        ("1.5h", "'1.5h' is not a duration: write digits with d, h, m, s or ms, such as 90s, 2h or 1h30m"),
        ("1h 30m", "'1h 30m' is not a duration: write"),
        ("-5m", "'-5m' is not a duration"),
        ("", "'' is not a duration"),
        ("h", "'h' is not a duration"),
        ("5M", "'5M' is not a duration"),
        ("٥m", "'٥m' is not a duration"),
        ("1h30", "'1h30' is not a duration"),
        ("36501d", "'36501d' is longer than 100 years"),
        ("9" * 50 + "h", "is not a duration"),
        ("5m\n5m", "'5m\\n5m' is not a duration"),
    ],
)
def test_refuses_what_is_not_a_duration(text: str, says: str) -> None:
    """The error quotes the text and says what to write instead."""
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert str(caught.value).startswith(says) or says in str(caught.value)


@given(st.integers(0, LONGEST * 1000))
def test_written_durations_read_back(milliseconds: int) -> None:
    """Every duration reads back from its own text, to the millisecond."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


def test_hours_stay_hours_up_to_the_longest_length() -> None:
    """The lengths that the API takes read as it names them, and only longer ones count in days."""
    assert [format_duration(length) for length in LENGTHS] == ["1h", "2h", "4h", "6h", "12h", "24h", "48h"]
    assert format_duration(72 * HOUR) == "3d"
    assert format_duration(49 * HOUR) == "2d1h"
    assert format_duration(5400) == "1h30m"
    assert format_duration(0) == "0s"


@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_refuses_to_write_what_is_no_duration(seconds: float) -> None:
    """What could not be read back is not written."""
    with pytest.raises(ValueError, match="cannot be written"):
        format_duration(seconds)
