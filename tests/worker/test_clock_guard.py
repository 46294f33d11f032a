"""The gain of the store's clock on ours, as arithmetic."""

from __future__ import annotations

import pytest

from orchestrator.core.jobs import Limit
from orchestrator.store.clocks import ClockReading
from orchestrator.worker.clock_guard import CALENDAR_STEP, LEAST_STEP, STEP, Gain, has_gained

SPAN = Limit().hold


def read_at(gain: Gain, boot: float, ahead: float) -> bool:
    """A reading that took no time."""
    return gain.read(boot, least=ahead, most=ahead)


def test_a_step_is_too_far_and_counted_anew_from_there() -> None:
    """The second reading beside it is no second step."""
    gain = Gain([Limit()])
    assert [read_at(gain, at, ahead) for at, ahead in ((0.0, 7.0), (1.0, 8.0), (2.0, 8.0))] == [
        False,
        True,
        False,
    ]


def test_many_small_gains_within_one_hold_add_up() -> None:
    """Each of them is too small to be told from the time that a reading takes."""
    gain = Gain([Limit()])
    assert [read_at(gain, at, at * 0.01) for at in range(0, 60, 10)] == [False] * 6
    assert read_at(gain, 60.0, 0.6)


def test_a_gain_of_more_than_one_hold_ago_is_forgotten() -> None:
    """No token that was out then is out any more."""
    gain = Gain([Limit()])
    assert not any(read_at(gain, tenth * SPAN / 10, tenth * STEP / 12) for tenth in range(50))


@pytest.mark.parametrize(("guard", "tolerated"), [(1.0, 0.5), (10.0, STEP), (0.1, LEAST_STEP)])
def test_half_the_guard_is_tolerated_within_bounds(guard: float, tolerated: float) -> None:
    """A small guard tolerates what two good clocks may differ by, a large one no more than a step."""
    gain = Gain([Limit(guard=guard)])
    read_at(gain, 0.0, 0.0)
    assert not gain.is_beyond(tolerated)
    assert gain.is_beyond(tolerated + 0.01)


def test_a_reading_that_took_long_is_given_the_benefit() -> None:
    """It was read somewhere between the two."""
    gain = Gain([Limit()])
    read_at(gain, 0.0, 0.0)
    assert not gain.read(5.0, least=0.1, most=5.0)


HOUR = 3600.0


def reading(
    passed: float = 0.0, *, gained: float = 0.0, boot_id: str = "ours", set_by: float = 0.0
) -> ClockReading:
    """The clocks after so many seconds, of which the store's has gained some, and the calendar was set by some."""
    return ClockReading(
        boot_id=boot_id, boot=1000.0 + passed, wall=5e8 + passed + set_by, at=1e9 + passed + gained
    )


@pytest.mark.parametrize("passed", [0.1, 60.0, HOUR])
def test_a_step_while_nobody_lived_is_seen_by_who_comes_next(passed: float) -> None:
    """On the same machine by its boot clock, whatever was done to its calendar; on another by the calendars of both."""
    assert has_gained([reading()], reading(passed, gained=HOUR, set_by=HOUR))
    assert has_gained([reading()], reading(passed, gained=HOUR, boot_id="theirs"))
    assert has_gained([reading()], reading(passed, gained=3.0))


@pytest.mark.parametrize("passed", [0.1, 60.0, HOUR, 30 * 24 * HOUR])
def test_good_clocks_are_not_taken_for_set(passed: float) -> None:
    """They drift, machines differ by some seconds, and what was set back returns no slot too early."""
    assert not has_gained([], reading(passed))
    assert not has_gained([reading()], reading(passed, gained=passed * 4e-4))
    assert not has_gained([reading()], reading(passed, gained=CALENDAR_STEP / 2, boot_id="theirs"))
    assert not has_gained([reading()], reading(passed, gained=-HOUR))


def test_what_others_have_seen_already_is_no_step_again() -> None:
    """Our own reading is compared, and without one the latest of all."""
    old, new = reading(boot_id="theirs"), reading(60.0, gained=HOUR, boot_id="third")
    assert not has_gained([new, old], reading(70.0, gained=HOUR))
    assert not has_gained([new, reading(65.0, gained=HOUR), old], reading(70.0, gained=HOUR))


def test_a_machine_whose_calendar_is_behind_waits_once_more_than_it_had_to() -> None:
    """Which of two clocks was set nobody can tell: what is too early would break the limit, what is late only waits."""
    assert has_gained([reading()], reading(60.0, set_by=-HOUR, boot_id="theirs"))
    assert not has_gained([reading()], reading(60.0, set_by=HOUR, gained=HOUR, boot_id="theirs"))
