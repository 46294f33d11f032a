"""The store's clock against ours: tokens return by the store's, and one that gains would return them too early."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from orchestrator.core import Clock, Lease, Limit, Observer
from orchestrator.ratelimit import longest_hold
from orchestrator.store import ClockReading, Store
from orchestrator.worker import notices
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations

STEP = 0.5
"""Seconds by which the store's clock may gain on ours while a token is out, half the usual guard: a smaller gain
is what the guard is for."""

LEAST_STEP = 0.2
"""Even with a smaller guard: two clocks that NTP keeps may differ by 0.15 s more after five minutes (500 ppm)."""


DRIFT = 5e-4
"""By how much a clock that NTP keeps may run faster or slower than another (500 ppm, the kernel's bound)."""

CALENDAR_STEP = 60.0
"""Seconds by which the calendars of two machines are taken to differ at most, where there is no better clock."""

NOTED_EVERY = 60.0
"""Seconds between two notes of our clocks beside the store's, for those who come when nobody lives any more."""


class ClockGuard:
    """Sees the store's clock gain on ours, and has all tokens out for one hold before anything is granted again.

    `setbacks` is how often that clock was seen to be set back.
    """

    def __init__(
        self, store: Store, organizations: ServedOrganizations, clock: Clock, observer: Observer
    ) -> None:
        self._store, self._clock, self._observer = store, clock, observer
        self._organizations, self._gain = organizations, Gain([served.limit for served in organizations])
        self._holds: list[Hold] = []  # of each organization, from the first time on that slots are held
        self._to_hold: list[Hold] = []
        self._ahead, self._held_anew = -math.inf, False
        self._noted_at: float | None = None
        self.setbacks = 0

    def compare_clocks(self) -> None:
        """Read the store's clock; where it was set or slewed forward, all slots are to be held."""
        before = self._clock.boot()
        at = self._store.now()
        after = self._clock.boot()
        if at - before < self._ahead - STEP:
            self.setbacks += 1
        self._ahead = at - after
        for hold in self._holds:  # set back and forth, it gains from where it was set back to
            hold.ahead = min(hold.ahead, self._ahead)
        gained = self._gain.read(
            after, least=at - after, most=at - before
        )  # it was read somewhere in between
        if gained or (self._noted_at is None and self._has_gained_unseen(at, after)):
            self._have_all_held()

    def check_grant(self, lease: Lease) -> bool:
        """Tell if a clock that had gained since it was last read made this grant; all slots are to be held then."""
        gained = self._gain.is_beyond(lease.granted_at - self._clock.boot())
        if gained:
            self._have_all_held()
        return gained

    def hold_all_tokens(self) -> None:
        """Bring no token back before one full hold, by our own clock, after its last use; told once per step.

        What the store does not take stays noted: nothing may be granted before this has returned.
        """
        if self._gain.is_recent(self._clock.boot()):  # a grant by a clock that gained is given back
            self.compare_clocks()
        while self._to_hold:
            self._held_anew |= self._hold(self._to_hold[-1])
            self._to_hold.pop()
        if self._held_anew:
            self._held_anew = False
            self._observer.on_event(notices.CLOCK_STEP)
        self._note_clocks()

    def _have_all_held(self) -> None:
        """Note that the slots of all organizations are to be held."""
        self._holds = self._holds or [Hold(served=served) for served in self._organizations]
        self._to_hold = list(self._holds)

    def _has_gained_unseen(self, at: float, boot: float) -> bool:
        """True if the store's clock gained on ours while no process lived that would have seen it."""
        now = ClockReading(boot_id=self._clock.boot_id(), boot=boot, wall=self._clock.wall(), at=at)
        return has_gained(self._store.clocks.noted(), now)

    def _note_clocks(self) -> None:
        """Note our clocks beside the store's, now and then: only after all slots are held that have to be."""
        boot = self._clock.boot()
        if self._noted_at is None or boot - self._noted_at >= NOTED_EVERY:
            self._store.clocks.note(self._clock)
            self._noted_at = boot

    def _hold(self, hold: Hold) -> bool:
        """Hold one organization's slots; True if that begins now, and does not only make up for what was gained since."""
        served = hold.served
        last = self._store.organizations.bucket(served.identity).last_grant
        before, at, now = self._clock.boot(), self._store.now(), self._clock.boot()
        anew = last != hold.last_grant or hold.quiet_since == -math.inf
        if anew:
            self._store.organizations.hold_all_tokens(served.identity, served.limit, timeout=served.timeout)
            hold.last_grant, hold.quiet_since = last, now
        elif now - max(hold.quiet_since, served.answered_at) < longest_hold(served.limit, served.timeout):
            gained = max(0.0, at - before - hold.ahead)
            self._store.organizations.hold_all_tokens(
                served.identity, served.limit, timeout=served.timeout, gained=gained
            )
        hold.ahead = at - now
        return anew


def has_gained(noted: Sequence[ClockReading], now: ClockReading) -> bool:
    """True if the store's clock gained since one of these readings, the latest of which comes first.

    By this machine's boot clock, if it has noted anything since its start; else by its calendar and that of the
    machine that was the last to note its own.
    """
    for own in noted:
        if own.boot_id == now.boot_id:
            passed = now.boot - own.boot
            return now.at - own.at - passed > STEP + DRIFT * passed
    return any(now.at - last.at - (now.wall - last.wall) > CALENDAR_STEP for last in noted[:1])


@dataclass(slots=True, kw_only=True)
class Hold:
    """How one organization's slots were last held because the store's clock had gained.

    `last_grant`, in store time, is that of anybody's last grant as it was then, `quiet_since` the boot time at
    which we first saw that one, and `ahead` how far the store's clock was ahead of ours.
    """

    served: ServedOrganization
    last_grant: float | None = None
    quiet_since: float = -math.inf
    ahead: float = 0.0


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

    def is_beyond(self, ahead: float) -> bool:
        """True if the store's clock is further ahead now than it may be."""
        return bool(self._lowest) and ahead > self._lowest[0][1] + self._tolerance

    def is_recent(self, boot: float) -> bool:
        """True if it was too far ahead a short while ago, and may still be slewed."""
        return boot - self._beyond_at < 2 * self._span

    def read(self, boot: float, *, least: float, most: float) -> bool:
        """Note how far the store's clock is ahead, between these two; True if that is too far: then it counts anew."""
        beyond, lowest = self.is_beyond(least), self._lowest
        if beyond:
            self._beyond_at = boot
            lowest.clear()
        while lowest and lowest[-1][1] >= most:
            lowest.pop()
        lowest.append((boot, most))
        while len(lowest) > 1 and lowest[1][0] <= boot - self._span:  # the first holds for what was before
            lowest.popleft()
        return beyond
