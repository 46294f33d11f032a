"""How limits count: the snapshot limit in every reading of its one sentence, and the general limit.

"A maximum of 5 snapshots per organization within a 5-minute interval" leaves the interval's kind open;
whoever keeps to the limit must do so under each of these policies. All are pure: a state and a time in,
a new state out, and True if the request is let through. A window holds its start and not its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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

GENERAL_LIMIT = Quota(limit=240, period=60.0)
"""240 requests of any kind a minute per organization, as published; its windows are fixed ones."""

_ROUNDING = 1e-9  # a token that is missing only this much is there: floats add up to 0.9999999


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


def general_headers(uses: Uses, clock_offset: float = 0.0) -> dict[str, str]:
    """The three headers that every answer carries once its request is counted.

    Reset is in epoch seconds of the server's clock.
    """
    reset = math.ceil(uses.moments[0] + GENERAL_LIMIT.period + clock_offset)
    values = (GENERAL_LIMIT.limit, GENERAL_LIMIT.limit - len(uses.moments), reset)
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
