"""One organization as one process serves it: what it learnt from the answers so far.

Nothing here is durable; what has to survive a crash or be seen by other processes is in the store.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.core import Lease, Limit, Reason, Task

REFUSALS = 3
"""So many 403 without a success for one (account group, is_public), and the rest of it is not tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCalendar:
    """How far the API's calendar is ahead of our wall clock (`offset`, seconds).

    And of our boot clock (`beyond_boot`) once an answer's `Date` was read: our calendar may be set meanwhile.
    """

    offset: float = 0.0
    beyond_boot: float | None = None

    @classmethod
    def read(cls, offset: float, *, wall: float, boot: float) -> ApiCalendar:
        """The calendar from an offset that was read at this moment."""
        return cls(offset=offset, beyond_boot=wall + offset - boot)

    def epoch(self, *, wall: float, boot: float) -> float:
        """The API's calendar now, in epoch seconds; before anything is known of it, ours."""
        return wall + self.offset if self.beyond_boot is None else boot + self.beyond_boot


@dataclass(slots=True, kw_only=True)
class ServedOrganization:
    """The state of one organization in one process; times are of the process's boot clock.

    `reload` reads the credential's source again and says whether its text changed; `reloaded` says that
    nothing was made with the new text yet.
    `answered_at` is the time of the last answer; `last_grant`, in store time, is that of anybody's last grant as
    it was when the store's clock had gained, and `quiet_since` when we first saw that one; `ahead` is how far that
    clock was ahead of ours when the slots were last held.
    """

    identity: str
    name: str
    limit: Limit
    timeout: float
    reload: Callable[[], bool] = lambda: False
    calendar: ApiCalendar = ApiCalendar()
    confirmed: bool = False
    in_flight: int = 0
    last_grant: float | None = None
    quiet_since: float = -math.inf
    ahead: float = 0.0
    answered_at: float = -math.inf
    look_at: float = 0.0
    reloaded: bool = False
    reloaded_at: float = -math.inf
    stopped: Reason | None = None
    stopped_because: str = ""
    connect_failures: int = 0
    waiting: Reason | None = None
    waiting_until: float | None = None
    empty: bool = False
    succeeded: set[tuple[str, bool]] = field(default_factory=set)
    refusals: Counter[tuple[str, bool]] = field(default_factory=Counter)

    @property
    def room(self) -> int:
        """How many more requests may go out now: the first of a process goes alone until it is answered."""
        return (self.limit.usable if self.confirmed else 1) - self.in_flight

    @property
    def refused(self) -> frozenset[tuple[str, bool]]:
        """The (account group, is_public) pairs that are not tried any more."""
        return frozenset(
            pair for pair, count in self.refusals.items() if count >= REFUSALS and pair not in self.succeeded
        )

    @property
    def hindered(self) -> Reason | None:
        """Why nothing can be sent here at present, whatever the bucket says."""
        return self.stopped or (Reason.API_UNREACHABLE if self.connect_failures else None)

    def forbidden(self, task: Task) -> bool:
        """Note a 403; whether that was the one too many."""
        pair = (task.account_group, task.is_public)
        self.refusals[pair] += 1
        return self.refusals[pair] == REFUSALS and pair not in self.succeeded

    def success(self, task: Task) -> None:
        """Note that a snapshot was made."""
        self.confirmed, self.reloaded = True, False
        self.succeeded.add((task.account_group, task.is_public))

    def unauthorized(self, lease: Lease, now: float) -> bool:
        """Note a 401; whether the credential is of no use: one more attempt is made if its text changed.

        What was granted before the text changed went out with the old one, and says nothing of the new.
        """
        if lease.granted_boot < self.reloaded_at:
            return False
        if self.reloaded or not self.reload():
            return True
        self.confirmed, self.reloaded, self.reloaded_at = False, True, now
        return False

    def stop(self, reason: Reason, because: str) -> None:
        """Send nothing more for this organization; its tasks stay pending."""
        self.stopped, self.stopped_because = reason, because
        self.waiting, self.waiting_until = reason, None

    def merge(self, other: ServedOrganization) -> None:
        """Take in another name of this organization: the more cautious settings, served while either may send."""
        self.name = f"{self.name}+{other.name}"
        self.limit = min(self.limit, other.limit, key=lambda limit: limit.usable)
        before, after = self.reload, other.reload
        self.reload = lambda: any([before(), after()])
        if other.stopped is None:
            self.stopped = self.waiting = None
        if not self.calendar.offset:  # one that was refused may know nothing of the calendar
            self.calendar = other.calendar


class ServedOrganizations:
    """The lanes of a process by identity, also when another process learns who an organization really is."""

    def __init__(self, lanes: Mapping[str, ServedOrganization], present: Callable[[str], str]) -> None:
        self._lanes, self._present = list(lanes.values()), present
        self._by_identity = dict(lanes)
        self._strangers: set[str] = set()

    def __iter__(self) -> Iterator[ServedOrganization]:
        return iter(self._lanes)

    def find(self, identity: str) -> ServedOrganization | None:
        """The lane of an organization; None where this process has no credential for it."""
        if identity not in self._by_identity and identity not in self._strangers:
            self._look_again()
            if identity not in self._by_identity:
                self._strangers.add(identity)
        return self._by_identity.get(identity)

    def forget_strangers(self) -> None:
        """Ask again for everybody unknown: two organizations have turned out to be one."""
        self._strangers.clear()

    def _look_again(self) -> None:
        """Ask for everybody's present identity: an unknown one may be that of an old acquaintance."""
        for lane in self._lanes:
            lane.identity = self._present(lane.identity)
            self._by_identity[lane.identity] = lane


class Agenda:
    """The lanes of a process in the order of their next look; a lane's own `look_at` is what counts."""

    def __init__(self, lanes: Iterable[ServedOrganization]) -> None:
        self._heap: list[tuple[float, int, ServedOrganization]] = []
        self._entries = 0
        for lane in lanes:
            self.put(lane, lane.look_at)

    def put(self, lane: ServedOrganization, at: float) -> None:
        """Look at the lane at this time instead of any other; infinity: not until it is put again."""
        lane.look_at = at
        if at < math.inf:
            self._entries += 1
            heapq.heappush(self._heap, (at, self._entries, lane))

    def due(self, now: float) -> Iterator[ServedOrganization]:
        """Take out the lanes that are due, one by one; one that is put again for now comes again."""
        while self._heap and self._heap[0][0] <= now:
            at, _, lane = heapq.heappop(self._heap)
            if at == lane.look_at:  # else it was put elsewhere since
                lane.look_at = math.inf
                yield lane

    @property
    def next(self) -> float:
        """The time of the next look; may be that of a lane which was put elsewhere since."""
        return self._heap[0][0] if self._heap else math.inf
