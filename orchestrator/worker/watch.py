"""What one worker watches in the store: tasks that anybody settled, tokens that came back, dead owners."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from orchestrator.core import Lease, Observer, Result, Status
from orchestrator.ratelimit import longest_hold
from orchestrator.store import Store
from orchestrator.worker import notices
from orchestrator.worker.clock_guard import STEP, Gain
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations

OVERLAP = 5.0
"""Seconds of settlements read again at each look: on PostgreSQL commits may become visible out of order."""

POLLS_PER_RECOVERY = 10
"""Dead processes are looked for at every so-manieth look."""

FAILED, UNCERTAIN, CREATED = 1, 2, 3
"""What was told of a task, in one byte; 0: nothing yet."""

_SAID = {Status.FAILED: FAILED, Status.UNCERTAIN: UNCERTAIN, Status.CREATED: CREATED}


class Watch:
    """Reports each settled task of a run once, by whatever process it was settled, and says what changed."""

    def __init__(
        self, run_id: str, store: Store, observer: Observer, lanes: ServedOrganizations, *, poll: float
    ) -> None:
        self._run_id, self._store, self._observer, self._poll = run_id, store, observer, poll
        self._seen = bytearray()  # what was told, by position, so that memory grows one byte a task
        self.reported = 0
        self._versions: Mapping[str, int] = {}
        self.lost: dict[int, tuple[str, float]] = {}  # by position: where, and from when on it is looked for
        self.renamed = False  # whether organizations of the run are known by other identities than before
        self._since, self._ahead = -math.inf, -math.inf
        self._recovered = -math.inf
        self._gain = Gain([lane.limit for lane in lanes])
        self._lanes, self._to_hold, self._held_anew = lanes, list[ServedOrganization](), False
        self._state = ""

    def changed(self, now: float) -> set[str]:
        """The organizations in which something changed since the last look; dead processes are seen to."""
        if now - self._recovered >= POLLS_PER_RECOVERY * self._poll:
            self._store.queue.recover()
            self._note_state()
            self._recovered = now
        versions = self._store.views.versions(self._run_id)
        changed = {
            identity for identity, version in versions.items() if self._versions.get(identity) != version
        }
        self.renamed = versions.keys() != self._versions.keys()
        self._versions = versions
        return changed

    def _note_state(self) -> None:
        """Somebody may have cancelled the run: that changes what there is to do in all of its organizations."""
        state = self._store.views.find_run(self._run_id).state
        if state != self._state:
            self._state, self._versions = state, {}

    def stepped(self, boot: Callable[[], float]) -> bool:
        """Whether the store's clock was set or slewed forward, as far as our own clock can tell."""
        before = boot()
        at = self._store.now()
        after = boot()
        if at - before < self._ahead - STEP:
            self._since = -math.inf  # set back: what is settled now is settled before what was reported
        self._ahead = at - after
        for lane in self._lanes:  # set back and forth, it gains from where it was set back to
            lane.ahead = min(lane.ahead, self._ahead)
        return self._gain.read(after, least=at - after, most=at - before)  # it was read somewhere in between

    def gained(self, lease: Lease, boot: float) -> bool:
        """Whether a grant was made by a clock that had gained since the last look."""
        return self._gain.beyond(lease.granted_at - boot)

    def must_hold(self) -> None:
        """Note that the store's clock has gained: nothing may be granted before `hold_all_tokens` has returned."""
        self._to_hold = list(self._lanes)

    def hold_all_tokens(self, boot: Callable[[], float]) -> None:
        """Bring no token back before one full hold, by our own clock, after its last use; told once per step.

        What the store does not take stays noted.
        """
        if self._gain.recent(boot()) and self.stepped(boot):  # a grant by a clock that gained is given back
            self.must_hold()
        while self._to_hold:
            self._held_anew |= self._hold(self._to_hold[-1], boot)
            self._to_hold.pop()
        if self._held_anew:
            self._held_anew = False
            self._observer.on_event(notices.clock_stepped())

    def _hold(self, lane: ServedOrganization, boot: Callable[[], float]) -> bool:
        """Hold one organization's slots; whether that begins now, or only makes up for what was gained since."""
        last = self._store.organizations.bucket(lane.identity).last_grant
        before, at, now = boot(), self._store.now(), boot()
        anew = last != lane.last_grant or lane.quiet_since == -math.inf
        if anew:
            self._store.organizations.hold_all_tokens(lane.identity, lane.limit, timeout=lane.timeout)
            lane.last_grant, lane.quiet_since = last, now
        elif now - max(lane.quiet_since, lane.answered_at) < longest_hold(lane.limit, lane.timeout):
            gained = max(0.0, at - before - lane.ahead)
            self._store.organizations.hold_all_tokens(
                lane.identity, lane.limit, timeout=lane.timeout, gained=gained
            )
        lane.ahead = at - now
        return anew

    def report(self, *, thorough: bool) -> None:
        """Tell about every task that was settled since the last report; `thorough` looks back a little further."""
        at = self._store.now()
        for result in self._store.views.results(self._run_id, settled_since=self._since - OVERLAP * thorough):
            position = result.task.position
            if not result.final:
                self.lost[position] = (result.task.organization, result.evidence_due or at)
                continue
            self.lost.pop(position, None)
            if self._news(result):
                self._observer.on_result(result)
        self._since = at

    def report_rest(self) -> None:
        """Tell about what is uncertain and was still to be looked for: the run ends before that."""
        for result in self._store.views.results(self._run_id, settled_since=-math.inf):
            if self._news(result):
                self._observer.on_result(result)

    def told(self, position: int) -> bool:
        """Whether the task at this position was reported."""
        return position < len(self._seen) and bool(self._seen[position])

    def _news(self, result: Result) -> bool:
        """Whether this was not told yet: what was not made may have been queued again, or noted as made, meanwhile."""
        position, said = result.task.position, _SAID[result.status]
        if position >= len(self._seen):
            self._seen.extend(bytes(position + 1 - len(self._seen)))
        before, self._seen[position] = self._seen[position], said
        self.reported += not before
        return before not in (said, CREATED)
