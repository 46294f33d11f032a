"""The wait before another attempt after a server's error: tenacity's policies, asked, never looped.

A 429 is no attempt and never comes here: it closes the gate (`orchestrator.ratelimit.bucket.close_gate`).

Tasks go back to the durable queue between attempts, so nothing here sleeps: tenacity's stop and wait
objects are given a state built from the stored attempt number and the stored time of the first byte. tenacity is
imported when the first attempt has failed: most runs never need it.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from tenacity import BaseRetrying, RetryCallState

    from orchestrator.core import RetryRules


FIRST_WAIT = 2.0
"""Seconds before the second attempt; each further wait is twice as long."""

LONGEST_WAIT = 120.0
"""Seconds that no wait exceeds."""

JITTER = 0.5
"""Up to this fraction of a wait is taken off at random, so that many tasks do not return together."""


class Backoff(NamedTuple):
    """How long to wait before another attempt; `scale` shortens all waits with a shorter limit period."""

    rules: RetryRules
    scale: float = 1.0

    def after(self, tries: int, *, first_sent: float, now: float, draw: Random) -> float | None:
        """Seconds until the next attempt after this many, or None when the rules allow no more."""
        from tenacity import stop_after_attempt, stop_before_delay

        wait = self.wait(tries, draw)
        state = _state(tries, elapsed=now - first_sent, upcoming=wait)
        stop = stop_after_attempt(self.rules.attempts) | stop_before_delay(self.rules.within)
        return None if stop(state) else wait

    def wait(self, tries: int, draw: Random) -> float:
        """Seconds to wait after this many tries in a row."""
        from tenacity import wait_exponential

        longest = wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)(_state(tries))
        return longest * self.scale * (1 - JITTER * draw.random())


def _state(tries: int, *, elapsed: float = 0.0, upcoming: float = 0.0) -> RetryCallState:
    from tenacity import RetryCallState

    state = RetryCallState(cast("BaseRetrying", None), None, (), {})  # the policies asked here use neither
    state.attempt_number = tries
    state.start_time, state.outcome_timestamp = 0.0, elapsed
    state.upcoming_sleep = upcoming
    return state
