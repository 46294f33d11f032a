"""How limits count: the snapshot limit in every reading of its one sentence, and the general limit.

"A maximum of 5 snapshots per organization within a 5-minute interval" leaves the interval's kind open;
whoever keeps to the limit must do so under each of these policies. All are pure: a state and a time in,
a new state out, and True if the request is let through. A window holds its start and not its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """`limit` uses per `period` seconds."""

    limit: int = 5  # the published figure
    period: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """The use of an organization so far: the moments that count, or a level at a moment."""

    moments: tuple[float, ...] = ()
    level: float | None = None
    since: float = 0.0


Ruling: TypeAlias = tuple[Uses, bool]
Policy: TypeAlias = Callable[[Quota, Uses, float], Ruling]


def sliding_window(limit: Quota, uses: Uses, now: float) -> Ruling:
    """Never more than the limit in any window; refusals cost nothing."""
    recent = _recent(limit, uses, now)
    allowed = len(recent) < limit.limit
    return Uses(moments=(*recent, now) if allowed else recent), allowed


def refusals_count(limit: Quota, uses: Uses, now: float) -> Ruling:
    """As sliding, but whoever keeps asking is kept out."""
    recent = _recent(limit, uses, now)[-limit.limit :]
    return Uses(moments=(*recent, now)), len(recent) < limit.limit


def fixed_windows(limit: Quota, uses: Uses, now: float) -> Ruling:
    """Windows that start with the first request after the last window's end."""
    if not uses.moments or now >= uses.moments[0] + limit.period:
        return Uses(moments=(now,)), limit.limit > 0
    allowed = len(uses.moments) < limit.limit
    return (Uses(moments=(*uses.moments, now)) if allowed else uses), allowed


def token_bucket(limit: Quota, uses: Uses, now: float) -> Ruling:
    """A bucket of `limit` tokens, refilled continuously."""
    return _bucket(limit, uses, now, capacity=limit.limit)


def burst_1(limit: Quota, uses: Uses, now: float) -> Ruling:
    """A bucket that holds a single token: evenly spaced requests only."""
    return _bucket(limit, uses, now, capacity=1)


POLICIES: Mapping[str, Policy] = {
    "sliding": sliding_window,
    "fixed": fixed_windows,
    "token_bucket": token_bucket,
    "refusals_count": refusals_count,
    "burst_1": burst_1,
}

_GENERAL = Quota(limit=240, period=60.0)  # 240 requests a minute per organization, as published
_ROUNDING = 1e-9  # a token that is missing only this much is there: floats add up to 0.9999999


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralQuota:
    """The general limit of one organization: a fixed window from the first request."""

    limit: Quota = _GENERAL
    start: float = -math.inf
    used: int = 0

    def count_request(self, now: float) -> tuple[GeneralQuota, bool]:
        """Count one more request; True with it if it is let through."""
        window = self if now < self.start + self.limit.period else replace(self, start=now, used=0)
        allowed = window.used < self.limit.limit
        return replace(window, used=window.used + allowed), allowed

    def headers(self, clock_offset: float = 0.0) -> dict[str, str]:
        """The three headers that every answer carries; Reset in epoch seconds of the server's clock."""
        reset = math.ceil(self.start + self.limit.period + clock_offset)
        values = (self.limit.limit, self.limit.limit - self.used, reset)
        names = ("Limit", "Remaining", "Reset")
        return {f"X-Organization-Rate-Limit-{n}": str(v) for n, v in zip(names, values, strict=True)}


def _recent(limit: Quota, uses: Uses, now: float) -> tuple[float, ...]:
    return tuple(moment for moment in uses.moments if moment + limit.period > now)


def _bucket(limit: Quota, uses: Uses, now: float, *, capacity: int) -> Ruling:
    before = capacity if uses.level is None else uses.level
    elapsed = now - uses.since if uses.level is not None else 0.0
    level = min(float(capacity), before + elapsed * limit.limit / limit.period)
    allowed = level >= 1 - _ROUNDING
    return Uses(level=level - allowed, since=now), allowed
