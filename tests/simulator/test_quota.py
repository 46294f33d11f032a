"""Each reading of the snapshot limit keeps its own promise, whatever is asked when."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator.quota import GENERAL_LIMIT, POLICIES, Quota, Uses, fixed_windows, general_headers

LIMIT = Quota(limit=5, period=300.0)
gaps = st.lists(st.floats(0, 400) | st.sampled_from([0.0, 60.0, 150.0, 299.999, 300.0]), max_size=60)


def accepted(policy: str, moments: list[float], limit: Quota = LIMIT) -> list[float]:
    uses, allowed = Uses(), []
    for moment in moments:
        uses, yes = POLICIES[policy](limit, uses, moment)
        if yes:
            allowed.append(moment)
    return allowed


def moments_of(steps: list[float]) -> list[float]:
    moments, now = [], 1_795_000_000.0
    for step in steps:
        now += step
        moments.append(now)
    return moments


def most(moments: list[float], period: float) -> int:
    return max((sum(a <= b < a + period for b in moments) for a in moments), default=0)


@given(gaps, st.integers(1, 7), st.floats(1, 600))
def test_sliding_never_passes_the_limit(steps: list[float], limit: int, period: float) -> None:
    """No window of the period holds more than the limit."""
    allowed = accepted("sliding", moments_of(steps), Quota(limit=limit, period=period))
    assert most(allowed, period) <= limit


@given(gaps)
def test_sliding_refuses_nothing_without_need(steps: list[float]) -> None:
    """A request is refused only when the limit was reached within the last period."""
    moments = moments_of(steps)
    allowed = accepted("sliding", moments)
    for moment in set(moments) - set(allowed):
        assert sum(moment < other + LIMIT.period and other <= moment for other in allowed) == LIMIT.limit


@given(gaps)
def test_fixed_keeps_the_limit_in_each_of_its_windows(steps: list[float]) -> None:
    """Windows start with the first request after the last one's end; two neighbours hold twice the limit."""
    allowed, start, used = accepted("fixed", moments_of(steps)), float("-inf"), 0
    for moment in allowed:
        if moment >= start + LIMIT.period:
            start, used = moment, 0
        used += 1
        assert used <= LIMIT.limit
    assert most(allowed, LIMIT.period) <= 2 * LIMIT.limit


@given(gaps)
def test_a_bucket_passes_at_most_its_capacity_and_what_was_refilled(steps: list[float]) -> None:
    """In any span there are at most 5 plus one for each minute of it."""
    allowed = accepted("token_bucket", moments_of(steps))
    for i, first in enumerate(allowed):
        for j, last in enumerate(allowed[i:], 1):
            assert j <= 5 + (last - first) / 60 + 1e-6


@given(gaps)
def test_a_bucket_of_one_spaces_evenly(steps: list[float]) -> None:
    """Two accepted requests are a minute apart."""
    allowed = accepted("burst_1", moments_of(steps))
    assert all(b - a >= 60 - 1e-5 for a, b in pairwise(allowed))


@given(gaps)
def test_counted_refusals_are_never_kinder_than_sliding(steps: list[float]) -> None:
    """Nothing passes unless fewer than five requests of any kind came within the last period."""
    moments = moments_of(steps)
    uses = Uses()
    for n, moment in enumerate(moments):
        uses, yes = POLICIES["refusals_count"](LIMIT, uses, moment)
        assert yes == (sum(moment < other + LIMIT.period for other in moments[:n]) < LIMIT.limit)


@pytest.mark.parametrize(
    ("policy", "count"),
    [("sliding", 10), ("fixed", 10), ("token_bucket", 13), ("refusals_count", 5), ("burst_1", 9)],
)
def test_hammering_tells_the_policies_apart(policy: str, count: int) -> None:
    """One request every ten seconds for 500 seconds gets a different share under each."""
    assert len(accepted(policy, [1000.0 + 10 * n for n in range(51)])) == count


def test_a_window_does_not_hold_its_end() -> None:
    """Exactly one period after the first, a slot is free again."""
    assert accepted("sliding", [0.0] * 6 + [299.999, 300.0]) == [0.0] * 5 + [300.0]


def test_a_fixed_window_starts_anew_at_its_end() -> None:
    """Five at the end of one and five at the start of the next: the double burst of a fixed window."""
    moments = [0.0, *[299.0] * 5, *[300.0] * 6]
    assert accepted("fixed", moments) == [0.0, *[299.0] * 4, *[300.0] * 5]


def test_the_general_limit_is_a_fixed_window_from_the_first_request() -> None:
    """240 pass, the next is refused with nothing remaining, and a minute after the first all is well."""
    uses, verdicts = Uses(), []
    for _ in range(241):
        uses, allowed = fixed_windows(GENERAL_LIMIT, uses, 1000.5)
        verdicts.append(allowed)
    assert verdicts == [True] * 240 + [False]
    assert general_headers(uses) == {
        "X-Organization-Rate-Limit-Limit": "240",
        "X-Organization-Rate-Limit-Remaining": "0",
        "X-Organization-Rate-Limit-Reset": "1061",
    }
    assert not fixed_windows(GENERAL_LIMIT, uses, 1060.4)[1]
    assert fixed_windows(GENERAL_LIMIT, uses, 1060.5)[1]
