"""The search for evidence of what became of requests whose answers were lost.

A private snapshot should appear among the account group's tests as a new saved event with our display
name. Finding it settles the task; not finding it proves nothing.
"""

from __future__ import annotations

from random import Random

from orchestrator.core import Clock, Lease, LeaseLost, Observer, RetryRules
from orchestrator.ratelimit import Backoff
from orchestrator.store import Store
from orchestrator.worker import notices, settlement
from orchestrator.worker.organization import ApiCalendar, ServedOrganizations
from orchestrator.worker.sender import Looked, LostAnswer, Sender

Group = tuple[str, str, str]
"""An organization's identity, an account group, and the user's name for the organization, which may have others.

One look sees so much: the account group '' is the token's own, and each name has a token.
"""


class LostAnswers:
    """Looks for evidence once it can be there, and concludes what is to become of the tasks.

    One look for all that is due in an account group. `left` are the positions of the tasks for which there
    is nothing to look with here: a process that has the credential, or a later start, sees to them.
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
        self._backoff, self._draw = Backoff(rules=rules), draw
        self._looking: set[Group] = set()
        self._failed: dict[Group, tuple[int, float, float]] = {}  # how often, since when, not before when
        self.left: frozenset[int] = frozenset()

    @property
    def under_way(self) -> int:
        """How many looks have not ended yet."""
        return len(self._looking)

    def start_looking(self, now: float, *, room: int) -> None:
        """Look for what is due, as often as there is room for a request."""
        left: set[int] = set()
        groups: dict[Group, list[LostAnswer]] = {}
        for lease, result in self._store.uncertain.due(self._run_id):
            served = self._organizations.find(lease.task.organization)
            if served is None or served.stopped is not None:
                left.add(lease.task.position)
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
        served = self._organizations.find(group[0])
        calendar = ApiCalendar() if served is None else served.calendar
        ahead = calendar.epoch(self._clock) - self._store.now()
        failed = end.error is not None
        if not (failed and (stopping or (not end.lasting and self._put_off(group, end)))):
            self._failed.pop(group, None)
            self._conclude_all(end, ahead)
        if served is not None:
            served.empty = False
            self._organizations.schedule(served, 0.0)

    def _may_look(self, group: Group, now: float) -> bool:
        return group not in self._failed or now >= self._failed[group][2]

    def _put_off(self, group: Group, end: Looked) -> bool:
        """Have a look that failed made once more; False when it has failed for too long."""
        now = self._clock.boot()
        times, since, _ = self._failed.get(group, (0, now, now))
        if now - since >= self._backoff.rules.within:
            return False
        wait = self._backoff.wait(times + 1, self._draw)
        self._failed[group] = (times + 1, since, now + wait)
        self._observer.on_event(notices.failed_look(end.lost[0][0], len(end.lost), end.error or "", wait))
        return True

    def _conclude_all(self, end: Looked, ahead: float) -> None:
        """Settle the tasks or have them sent again; `ahead` is the API's calendar less store time."""
        known = set(self._store.uncertain.known_snapshots(end.lost[0][0].task.organization))
        for lease, result in end.lost:
            found = settlement.find_evidence(lease, result, end.tests, known, ahead=ahead)
            resend = found is None and settlement.may_resend(lease, result)
            known |= {found.id} if found else set()
            how = "saved_event" if found else ""
            try:
                queued = self._store.uncertain.conclude(lease, found=found, how=how, resend=resend)
            except LeaseLost:
                continue  # another process concluded it
            self._observer.on_event(notices.evidence_outcome(lease, found, resend=queued, error=end.error))


def _group(lease: Lease) -> Group:
    return lease.task.organization, lease.task.account_group, lease.task.organization_name
