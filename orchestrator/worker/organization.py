"""The organizations as one process serves them: what it learnt from answers, and whom to look at next.

Nothing here is durable; what has to survive a crash or be seen by other processes is in the store.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.core import Clock, Limit, Reason, RetryRules, Task
from orchestrator.ratelimit import Backoff
from orchestrator.store import Store

REFUSALS = 3
"""So many 403 without a success for one (account group, is_public), and nothing more of it is tried."""


ORDINARY_PERIOD = 300.0
"""Waits between attempts are meant for the documented period; a shorter one (in tests) shortens them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCalendar:
    """How far the API's calendar is ahead of our wall clock (`offset`, seconds).

    And of our boot clock (`beyond_boot`) once an answer's `Date` was read: our calendar may be set meanwhile.
    """

    offset: float = 0.0
    beyond_boot: float | None = None

    @classmethod
    def read(cls, offset: float, clock: Clock) -> ApiCalendar:
        """The calendar from an offset that was read at this moment."""
        return cls(offset=offset, beyond_boot=clock.wall() + offset - clock.boot())

    def epoch(self, clock: Clock) -> float:
        """The API's calendar now, in epoch seconds; before anything is known of it, ours."""
        return clock.wall() + self.offset if self.beyond_boot is None else clock.boot() + self.beyond_boot


@dataclass(slots=True)
class Refusals:
    """The 403 answers of one organization by (account group, is_public); a success outweighs them for good.

    `final` are the pairs that are not tried any more.
    """

    counts: Counter[tuple[str, bool]] = field(default_factory=Counter)
    succeeded: set[tuple[str, bool]] = field(default_factory=set)
    final: frozenset[tuple[str, bool]] = frozenset()

    def add(self, task: Task, left: int) -> bool:
        """Note a 403, with so many tasks of its kind left in the run; True if that was enough of them."""
        self.counts[task.kind] += 1
        if task.kind in self.succeeded | self.final or self.counts[task.kind] < min(REFUSALS, left):
            return False
        self.final |= {task.kind}
        return True

    def add_success(self, task: Task) -> None:
        """Note that a snapshot of this kind was made."""
        self.succeeded.add(task.kind)
        self.final -= {task.kind}


@dataclass(slots=True, kw_only=True)
class ServedOrganization:
    """The state of one organization in one process; times are of the process's boot clock.

    `rereads`: its credential is in a file, and `reload` reads that again and tells if it has a new text.
    `awaits_token` says that the present one was refused, `reread_until` when that wait ends. `empty`: the store had nothing to grant when it was asked last. `look_at` is
    when the store is asked next, `answered_at` the time of the last answer; `waiting_until` is epoch seconds.
    """

    identity: str
    name: str
    limit: Limit
    timeout: float
    reload: Callable[[], bool] = lambda: False
    rereads: bool = False
    awaits_token: bool = False
    reread_until: float | None = None
    refused_because: str = ""
    reloaded_at: float = -math.inf
    calendar: ApiCalendar = ApiCalendar()
    refusals: Refusals = field(default_factory=Refusals)
    confirmed: bool = False
    in_flight: int = 0
    answered_at: float = -math.inf
    connect_failures: int = 0
    look_at: float = 0.0
    empty: bool = False
    stopped: Reason | None = None
    stopped_because: str = ""
    waiting: Reason | None = None
    waiting_until: float | None = None

    @property
    def room(self) -> int:
        """How many more requests may go out now: the first of a process goes alone until it is answered."""
        return (self.limit.usable if self.confirmed else 1) - self.in_flight

    @property
    def hindered(self) -> Reason | None:
        """The reason for which nothing can be sent at present, whatever the bucket says."""
        if self.stopped is None and self.awaits_token:
            return Reason.TOKEN_REFUSED
        return self.stopped or (Reason.API_UNREACHABLE if self.connect_failures else None)

    def backoff(self, rules: RetryRules) -> Backoff:
        """The waits between attempts at anything of this organization."""
        return Backoff(rules=rules, scale=min(1.0, self.limit.per / ORDINARY_PERIOD))

    def note_success(self, task: Task) -> None:
        """Note that a snapshot was made."""
        self.confirmed = True
        self.refusals.add_success(task)

    def await_token(self, because: str) -> None:
        """Send nothing until the credential's file has a new text."""
        self.awaits_token, self.confirmed, self.refused_because = True, False, because
        self.reread_until = None

    def take_token(self, now: float) -> None:
        """Go on with a new text, one request first."""
        self.awaits_token, self.reloaded_at = False, now
        self.wait_for(None, None)

    def stop(self, reason: Reason, because: str) -> None:
        """Send nothing more for this organization; its tasks stay pending."""
        self.stopped, self.stopped_because, self.awaits_token = reason, because, False
        self.wait_for(reason, None)

    def wait_for(self, reason: Reason | None, until: float | None) -> None:
        """Note what its tasks wait for, and until when (epoch seconds) if that is known."""
        self.waiting, self.waiting_until = reason, until

    def merge(self, other: ServedOrganization) -> None:
        """Take in another name of this organization: the more cautious settings, served while either may send."""
        self.name = f"{self.name}+{other.name}"
        self.limit = min(self.limit, other.limit, key=lambda limit: limit.usable)
        before, after = self.reload, other.reload
        self.reload, self.rereads = (lambda: any([before(), after()])), self.rereads or other.rereads
        if other.stopped is None:
            self.stopped = self.waiting = None
            self.awaits_token &= other.awaits_token
        if not self.calendar.offset:  # one that was refused may know nothing of the calendar
            self.calendar = other.calendar


class Witness:
    """Knows an organization for which something holds: however many there are, it is nearly always the one before."""

    def __init__(
        self, organizations: Sequence[ServedOrganization], holds: Callable[[ServedOrganization], bool]
    ) -> None:
        self._all, self._holds, self._at = organizations, holds, 0

    @property
    def found(self) -> bool:
        """True if it holds for any of them; the last one for which it did is asked first."""
        for at in itertools.chain(range(self._at, len(self._all)), range(self._at)):
            if self._holds(self._all[at]):
                self._at = at
                return True
        return False


class ServedOrganizations:
    """The organizations that a process holds a credential for, by identity and by the time of their next look.

    An identity may become another one while the run goes on, as any process learns who an organization really is.
    `unreachable_since` is since when nothing has answered anybody, `registration_due` is True while other
    processes are to be told anew for whom this one can send.
    """

    def __init__(self, served: Mapping[str, ServedOrganization], store: Store) -> None:
        self._all, self._store = list(served.values()), store
        self._by_identity: dict[str, ServedOrganization | None] = dict(served)  # None for a stranger
        self._looks: list[tuple[float, int, ServedOrganization]] = []  # a heap; `look_at` is what counts
        self._looks_ever = 0
        self._open = Witness(self._all, lambda one: one.stopped is None and not one.empty)
        self._hopeful = Witness(self._all, lambda one: not (one.empty or one.stopped or one.connect_failures))
        self.unreachable_since: float | None = None
        self.registration_due = True
        for one in self._all:
            self.schedule(one, one.look_at)

    def __iter__(self) -> Iterator[ServedOrganization]:
        return iter(self._all)

    @property
    def idle(self) -> bool:
        """True if nothing more is to be granted to any of them."""
        return not self._open.found

    def find(self, identity: str) -> ServedOrganization | None:
        """The organization of this identity; None where this process has no credential for it."""
        return next(iter(self.find_all([identity])), None)

    def find_all(self, identities: Sequence[str]) -> list[ServedOrganization]:
        """The organizations of these identities that this process has a credential for.

        However many of them are new to it, the store is asked once.
        """
        if not self._by_identity.keys() >= set(identities):
            self.follow_identities()
        found = (self._by_identity.setdefault(identity, None) for identity in identities)
        return [served for served in found if served is not None]

    def follow_identities(self) -> None:
        """Know each organization by its present identity, too: two may have turned out to be one."""
        known = self._store.organizations.present_identities([served.identity for served in self._all])
        for served in self._all:
            served.identity = known.get(served.identity, served.identity)
            self._by_identity[served.identity] = served

    # -- whom to look at next ----------------------------------------------------------------------------
    def schedule(self, served: ServedOrganization, at: float) -> None:
        """Look at it at this time instead of any other; infinity: not until it is scheduled again."""
        served.look_at = at
        if at < math.inf:
            self._looks_ever += 1
            heapq.heappush(self._looks, (at, self._looks_ever, served))

    def due(self, now: float) -> Iterator[ServedOrganization]:
        """Take out those that are due, one by one; one that is scheduled for now again comes again."""
        while self._looks and self._looks[0][0] <= now:
            at, _, served = heapq.heappop(self._looks)
            if at == served.look_at:  # else it was scheduled for another time since
                served.look_at = math.inf
                yield served

    @property
    def next_look(self) -> float:
        """The time of the next look; may be that of one which was scheduled for another time since."""
        return self._looks[0][0] if self._looks else math.inf

    # -- who can be reached ------------------------------------------------------------------------------
    def silent_for(self, now: float, *, at_least: float = 0.0) -> float:
        """For how long nothing has answered, 0 for shorter times; one that merely waits for its time still has hope."""
        if self.unreachable_since is None or now - self.unreachable_since < at_least:
            return 0.0
        return 0.0 if self._hopeful.found else now - self.unreachable_since

    def register(self, run_id: str) -> None:
        """Tell other processes for whom this one can send, if that has changed."""
        if not self.registration_due:
            return
        able = {one.identity for one in self._all if one.hindered is None}
        hindered = {one.identity: one.hindered for one in self._all if one.hindered is not None}
        self._store.queue.serve(
            run_id,
            able | hindered.keys(),
            refused={one.identity: one.refusals.final for one in self._all},
            stopped={identity: why for identity, why in hindered.items() if identity not in able},
            until={one.identity: one.waiting_until for one in self._all if one.awaits_token},
        )
        self.registration_due = False
