"""The gain of the store's clock on ours, as arithmetic."""

from __future__ import annotations

import pytest

from orchestrator.core.jobs import Limit
from orchestrator.worker.clock_guard import LEAST_STEP, STEP, Gain

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
