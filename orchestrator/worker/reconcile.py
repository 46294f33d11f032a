"""The search for evidence of what became of requests whose answers were lost.

A private snapshot should appear among the account group's tests as a new saved event with our display
name. Finding it settles the task; not finding it proves nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from orchestrator.core import Clock, Lease, LeaseLost, Observer, Result, RetryRules, Status
from orchestrator.ratelimit import search_end
from orchestrator.store import Store
from orchestrator.worker import notices, settlement
from orchestrator.worker.organization import ApiCalendar, ServedOrganizations
from orchestrator.worker.sender import Looked, LostAnswer, Sender

Group = tuple[str, str, str]
"""An organization's identity, an account group, and the user's name for the organization, which may have others.

One look sees so much: the account group '' is the token's own, and each name has a token.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedLooks:
    """Looks in one account group that failed: how many, since when, and when the next one is due (boot clock).

    `resends`: one of the tasks is sent once more when nothing is found.
    """

    times: int
    since: float
    again_at: float
    resends: bool


class LostAnswers:
    """Looks for evidence once it can be there, and concludes what is to become of the tasks.

    One look for all that is due in an account group. `left` are the positions of the tasks for which there
    is nothing to look with here: a process that has the credential, or a later start, sees to them. `unread` are
    those that stay uncertain since the list could not be read.
    """

    def __init__(
        self,
        run_id: str,
        store: Store,
        sender: Sender,
        organizations: ServedOrganizations,
        clock: Clock,
        *,
        observer: Observer,
        rules: RetryRules,
        draw: Random,
    ) -> None:
        self._run_id, self._store, self._sender = run_id, store, sender
        self._organizations, self._clock, self._observer = organizations, clock, observer
        self._rules, self._draw = rules, draw
        self._looking: set[Group] = set()
        self._failed: dict[Group, FailedLooks] = {}
        self._done_since: float | None = None
        self.left: frozenset[int] = frozenset()
        self.unread: set[int] = set()

    @property
    def under_way(self) -> int:
        """How many looks have not ended yet."""
        return len(self._looking)

    def note_work(self, now: float, *, done: bool) -> None:
        """Note if nothing is left of the run but to look: from then on the search has an end."""
        if not done:
            self._done_since = None
        elif self._done_since is None:
            self._done_since = now

    def next_look(self, identity: str) -> float:
        """When an organization's list that could not be read is read again, by the boot clock; minus infinity: at once."""
        times = [
            min(one.again_at, self._end(group, one))
            for group, one in self._failed.items()
            if group[0] == identity
        ]
        return min(times, default=-math.inf)

    def latest_end(self, identity: str) -> float:
        """When the search in an organization ends at the latest, by the boot clock; infinity while that is open."""
        failed = [self._end(group, one) for group, one in self._failed.items() if group[0] == identity]
        return max(failed, default=self._end((identity, "", ""), None))

    def start_looking(self, now: float, *, room: int) -> None:
        """Look for what is due, as often as there is room for a request."""
        left: set[int] = set()
        groups: dict[Group, list[LostAnswer]] = {}
        for lease, result in self._store.uncertain.due(self._run_id):
            served = self._organizations.find(lease.task.organization)
            if served is None or served.stopped is not None:
                left |= {lease.task.position} if result.status is Status.UNCERTAIN else set()
            else:
                groups.setdefault(_group(lease), []).append((lease, result))
        self.left = frozenset(left)
        due = [group for group in groups if group not in self._looking and self._may_look(group, now)]
        for group in due[: max(0, room)]:
            self._looking.add(group)
            self._sender.look(tuple(groups[group]))

    def end_look(self, end: Looked, *, stopping: bool) -> None:
        """Conclude what a look says of its tasks; a grant is asked for, since one may be queued once more."""
        group = _group(end.lost[0][0])
        self._looking.discard(group)  # before the store is asked anything, which may fail
        failed = end.error is not None
        if failed and (stopping or (not end.lasting and self._put_off(group, end))):
            return
        self._failed.pop(group, None)
        served = self._organizations.find(group[0])
        calendar = ApiCalendar() if served is None else served.calendar
        self._conclude_all(end, calendar.epoch(self._clock) - self._store.now())
        if served is not None:
            served.empty = False
            self._organizations.schedule(served, 0.0)

    def _may_look(self, group: Group, now: float) -> bool:
        failed = self._failed.get(group)
        return failed is None or now >= min(failed.again_at, self._end(group, failed))

    def _end(self, group: Group, failed: FailedLooks | None) -> float:
        """When the search in an account group ends, by the boot clock.

        A task that its policy sends once more is work: its list is asked for as long as anything else is tried.
        """
        if failed is not None and (failed.resends or self._done_since is None):
            return failed.since + self._rules.within
        served = self._organizations.find(group[0])
        if served is None or self._done_since is None:
            return math.inf
        return search_end(self._done_since, served.timeout + served.limit.grace)

    def _put_off(self, group: Group, end: Looked) -> bool:
        """Have a look that failed made once more; False when there is no time left for it."""
        now, before = self._clock.boot(), self._failed.get(group)
        times, since = (before.times, before.since) if before else (0, now)
        resends = any(settlement.may_resend(*lost) for lost in end.lost)
        served = self._organizations.find(group[0])
        wait = 0.0 if served is None else served.backoff(self._rules).wait(times + 1, self._draw)
        failed = FailedLooks(times=times + 1, since=since, again_at=now + wait, resends=resends)
        if now >= self._end(group, failed):
            return False
        self._failed[group] = failed
        wait = min(wait, self._end(group, failed) - now)
        self._observer.on_event(notices.failed_look(end.lost[0][0], len(end.lost), end.error or "", wait))
        return True

    def _conclude_all(self, end: Looked, ahead: float) -> None:
        """Settle the tasks or have them sent again; `ahead` is the API's calendar less store time."""
        titles = {lease.task.title(lease.resends) for lease, _ in end.lost}
        alike = [test.id for test in end.tests if test.saved_event and test.name in titles]
        known = set(self._store.uncertain.known_snapshots(end.lost[0][0].task.organization, alike))
        for lease, result in end.lost:
            found = settlement.find_evidence(lease, result, end.tests, known, ahead=ahead)
            known |= {found.snapshot.id} if found.snapshot else set()
            try:
                self._conclude(lease, result, found, end.error)
            except LeaseLost:
                continue  # another process concluded it

    def _conclude(
        self, lease: Lease, result: Result, evidence: settlement.Evidence, error: str | None
    ) -> None:
        """Store what the evidence says of one task, and tell it."""
        tasks = self._store.uncertain
        if evidence.snapshot is not None:
            tasks.conclude(lease, found=evidence.snapshot, how="saved_event", twice=evidence.twice)
            self._observer.on_event(notices.evidence_found(lease, twice=evidence.twice))
            return
        possible = result.possible_event if error else evidence.possible
        may_resend = settlement.may_resend(lease, result)
        if tasks.conclude(lease, found=None, possible=possible, resend=may_resend):
            self._observer.on_event(notices.resend(lease, result, possible, error))
            return
        if error:
            self.unread.add(lease.task.position)
        self._observer.on_event(notices.evidence_missing(lease, result, possible, error))


def _group(lease: Lease) -> Group:
    return lease.task.organization, lease.task.account_group, lease.task.organization_name
