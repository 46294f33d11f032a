"""TODO."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection

from orchestrator.core import Limit

STEP = 0.5
"""Seconds by which the store's clock may gain on ours while a token is out, half the usual guard: a smaller gain
is what the guard is for."""

LEAST_STEP = 0.2
"""Even with a smaller guard: two clocks that NTP keeps may differ by 0.15 s more after five minutes (500 ppm)."""


class Gain:
    """By how much the store's clock has gained on ours while any token may have been out.

    Kept are the lowest differences of the last full hold: a clock that is slewed gains too little between
    two readings to be told from the time that a reading takes.
    """

    def __init__(self, limits: Collection[Limit]) -> None:
        self._span = max((limit.hold for limit in limits), default=0.0)
        guard = min((limit.guard for limit in limits), default=0.0)
        self._tolerance = max(LEAST_STEP, min(STEP, guard / 2))
        self._lowest: deque[tuple[float, float]] = deque()  # (boot time, difference), both rising
        self._beyond_at = -math.inf

    def beyond(self, ahead: float) -> bool:
        """Whether the store's clock is further ahead now than it may be."""
        return bool(self._lowest) and ahead > self._lowest[0][1] + self._tolerance

    def recent(self, boot: float) -> bool:
        """Whether it was too far ahead a short while ago, and may still be slewed."""
        return boot - self._beyond_at < 2 * self._span

    def read(self, boot: float, *, least: float, most: float) -> bool:
        """Note how far the store's clock is ahead, between these two; whether that is too far: then it counts anew."""
        beyond, lowest = self.beyond(least), self._lowest
        if beyond:
            self._beyond_at = boot
            lowest.clear()
        while lowest and lowest[-1][1] >= most:
            lowest.pop()
        lowest.append((boot, most))
        while len(lowest) > 1 and lowest[1][0] <= boot - self._span:  # the first holds for what was before
            lowest.popleft()
        return beyond
