"""Reads within the general limit: however many read, and whatever becomes of them."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ratelimit.reads import (
    GRACE,
    GUARD,
    MOST_READS,
    PERIOD,
    USABLE,
    ReadShare,
    end_reads,
    reserve_reads,
)

TIMEOUT = 60.0

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.4, 30.0, 59.5, 61.5]),  # until the next reader comes
        st.sampled_from([120, MOST_READS]),  # reads that it wants
        st.sampled_from([1.0, 0.1]),  # how many of them it makes
        st.sampled_from([0.0, 60.0, None]),  # until the last answer, if it says so
        st.sampled_from([0.0, 1.0]),  # when each counts, between its start and then
    ),
    min_size=3,
    max_size=12,
)


def most_in_a_window(counted: list[float]) -> int:
    """The most of these moments that any window of the limit's length has."""
    counted.sort()
    return max((at + 1 - bisect_left(counted, one - PERIOD) for at, one in enumerate(counted)), default=0)


@settings(max_examples=500)
@given(STEPS)
def test_no_window_of_any_alignment_has_more_than_the_limit(
    steps: list[tuple[float, int, float, float | None, float]],
) -> None:
    """A server counts a read at any moment until its answer, or until the latest one if nobody tells of one."""
    shares: tuple[ReadShare, ...] = ()
    now, counted, ends = 0.0, list[float](), list[tuple[float, str, int]]()
    for number, (pause, wanted, part, answered, when) in enumerate(steps):
        now += pause
        for ended_at, ticket, used in sorted(ends):
            if ended_at <= now:
                shares = end_reads(shares, ticket, used, now=now)
        ends = [one for one in ends if one[0] > now]
        shares, count, wait = reserve_reads(shares, str(number), wanted, now=now, timeout=TIMEOUT)
        assert (count > 0) == (wait == 0.0)
        used = round(part * count)
        latest = USABLE + TIMEOUT + GRACE if answered is None else answered
        counted += [now + when * latest] * used
        if answered is not None:
            ends.append((now + answered, str(number), used))
    assert most_in_a_window(counted) <= MOST_READS


def test_what_was_not_used_is_free_at_once() -> None:
    """And what was used a period after its answer."""
    shares, count, _ = reserve_reads((), "a", MOST_READS, now=0.0, timeout=TIMEOUT)
    assert count == MOST_READS
    shares = end_reads(shares, "a", MOST_READS - 10, now=5.0)
    assert reserve_reads(shares, "b", MOST_READS, now=5.0, timeout=TIMEOUT)[1] == 10
    shares, count, wait = reserve_reads(
        (*shares, ReadShare(ticket="b", count=10, returns_at=500.0)), "c", 1, now=6.0, timeout=TIMEOUT
    )
    assert (count, wait) == (0, PERIOD + GUARD - 1.0)
    assert reserve_reads(shares, "c", MOST_READS, now=5.0 + PERIOD + GUARD, timeout=TIMEOUT)[1] == (
        MOST_READS - 10
    )
