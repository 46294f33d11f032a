"""Reads (GET) within the API's general limit, by the law of the tokens: one is out until a period after its answer. Pure.

Whoever is about to read has some reads reserved at once. They are out until the latest moment at which one of them may
still count; when all that went out were answered, until a period after that, and what was not used is back at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

MOST_READS = 200
"""Reads of one organization that may be out at once: of the 240 requests a minute that the API allows, 40 are kept free."""

PERIOD = 60.0
"""Seconds of the general limit's window."""

GUARD = 1.0
"""Seconds added to it against rounding."""

USABLE = 30.0
"""Seconds after which a read that was reserved does not go any more: it might count too late."""

GRACE = 30.0
"""Seconds after a read's deadline in which a server may still count it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadShare:
    """Reads that were reserved together, under a name of their own, and the moment from which they are free again."""

    ticket: str
    count: int
    returns_at: float


def reserve_reads(
    shares: Sequence[ReadShare], ticket: str, wanted: int, *, now: float, timeout: float
) -> tuple[tuple[ReadShare, ...], int, float]:
    """Reserve as many reads as there are, of those that are `wanted`: all shares then, how many, and the wait if none is free.

    `timeout` is the total deadline of one read in seconds.
    """
    longest = USABLE + timeout + GRACE + PERIOD + GUARD
    out = tuple(one for one in shares if one.returns_at > now)
    count = min(wanted, MOST_READS - sum(one.count for one in out))
    if count > 0:
        return (*out, ReadShare(ticket=ticket, count=count, returns_at=now + longest)), count, 0.0
    return out, 0, min((one.returns_at for one in out), default=now) - now


def follow_clock(shares: Sequence[ReadShare], *, last: float, now: float) -> tuple[ReadShare, ...]:
    """The shares once a clock that was set back is allowed for: what was left of each at the last look counts from now."""
    behind = max(0.0, last - now)
    return tuple(replace(one, returns_at=one.returns_at - behind) for one in shares)


def end_reads(shares: Sequence[ReadShare], ticket: str, used: int, *, now: float) -> tuple[ReadShare, ...]:
    """Give back what was reserved under a ticket, but for the reads that went out: all of these are answered by `now`."""
    others = tuple(one for one in shares if one.ticket != ticket)
    if not used:
        return others
    return (*others, ReadShare(ticket=ticket, count=used, returns_at=now + PERIOD + GUARD))
