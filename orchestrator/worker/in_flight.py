"""The requests of a process that are under way, and what their ends make of tasks and organizations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from orchestrator.api import Answer, Outcome, Verdict, judge, stranger_text
from orchestrator.core import (
    Clock,
    Event,
    GrantStale,
    Lease,
    LeaseLost,
    Observer,
    Reason,
    RetryRules,
    StoreTrouble,
)
from orchestrator.ratelimit import CLOSINGS_TO_DOUBLE
from orchestrator.store import End, Store
from orchestrator.worker import notices, settlement
from orchestrator.worker.organization import ApiCalendar, ServedOrganization, ServedOrganizations
from orchestrator.worker.renewal import RefusedTokens
from orchestrator.worker.sender import Sender, Sent

TOO_SLOW = "the connection, or the store, took too long"
"""Said of a grant that grew stale: a network that slow, or a machine that slept, counts as no connection."""


class _Landed(NamedTuple):
    """The end of an attempt that is to be stored; of a 403 the organization that was `forbidden`."""

    end: End
    forbidden: ServedOrganization | None = None


class InFlight:
    """Sends what was granted, and stores what came of it; the organizations learn from the answers.

    `stored` is True if something may have been stored since that was last looked at; `tokens` are those refused.
    """

    def __init__(
        self,
        store: Store,
        sender: Sender,
        organizations: ServedOrganizations,
        clock: Clock,
        *,
        observer: Observer,
        rules: RetryRules,
        draw: Random,
    ) -> None:
        self._store, self._sender, self._organizations = store, sender, organizations
        self._clock, self._observer, self._rules, self._draw = clock, observer, rules, draw
        self._flying: dict[tuple[str, int], ServedOrganization] = {}
        self._unsettled: list[_Landed] = []
        self._news: list[Event] | None = None  # what is told once something is stored
        self.stored = True
        self.tokens = RefusedTokens(organizations, clock, self._tell, self._stop_serving)

    def __len__(self) -> int:
        return len(self._flying)

    def _tell(self, event: Event) -> None:
        """Tell an event; while something is being stored, after that."""
        if self._news is None:
            self._observer.on_event(event)
        else:
            self._news.append(event)

    @property
    def settled(self) -> bool:
        """True if the end of every request is stored."""
        return not (self._flying or self._unsettled)

    def send(self, served: ServedOrganization, lease: Lease) -> None:
        """Start one attempt."""
        served.wait_for(None, None)
        served.in_flight += 1
        self._flying[lease.task.key, lease.attempt] = served
        self._sender.send(lease)

    def give_back(self, leases: Sequence[Lease]) -> None:
        """Store that nothing was sent."""
        self._store_ends([_Landed(end=End(lease=lease, settlement=None)) for lease in leases])

    def land(self, ends: Sequence[Sent], *, stopping: bool) -> None:
        """Learn from the ends of requests, and store them in one commit, with those that the store did not take before.

        Told is what was learnt when that is done: whoever reads may keep us waiting.
        """
        self._news = []
        try:
            self._store_ends(list(filter(None, [self._land(end, stopping=stopping) for end in ends])))
        finally:
            news, self._news = self._news, None
            for event in news:
                self._observer.on_event(event)

    def _land(self, end: Sent, *, stopping: bool) -> _Landed | None:
        """Learn from the end of one request; what is to be stored of it."""
        served = self._flying.pop((end.lease.task.key, end.lease.attempt))
        served.in_flight -= 1
        self._organizations.schedule(served, 0.0)
        if end.answer is None or not end.answer.sent:
            return self._land_unsent(served, end, stopping=stopping)
        if end.answer.status is not None:
            self._note_answer(served, end.answer.date_offset)
        landed = self._judge(served, end.lease, judge(end.answer, end.lease))
        self._note_lasting_failure(served, end.answer)
        return landed

    def _land_unsent(self, served: ServedOrganization, end: Sent, *, stopping: bool) -> _Landed | None:
        """Not a byte left: there was no connection, or this process itself saw to that."""
        if end.answer is not None:
            if not self._note_lasting_failure(served, end.answer):
                self._leave_alone(served, end.lease, end.answer.failure or "no connection")
        elif isinstance(end.refused, GrantStale) and not stopping:
            self._leave_alone(served, end.lease, TOO_SLOW)
        if isinstance(end.refused, LeaseLost):
            return None
        return _Landed(end=End(lease=end.lease, settlement=None))

    def _judge(self, served: ServedOrganization, lease: Lease, verdict: Verdict) -> _Landed:
        store_now = lease.granted_at + self._clock.boot() - lease.granted_boot
        settled = settlement.make_settlement(
            verdict,
            lease,
            served.backoff(self._rules),
            now=store_now,
            draw=self._draw,
            permitted=lease.task.kind in served.refusals.succeeded,
        )
        self._learn(served, lease, verdict)
        self._tell(notices.attempt_outcome(served, lease, verdict, settled))
        jitter = self._draw.random() if settled.closing else 0.0
        forbidden = served if verdict.outcome is Outcome.FORBIDDEN else None
        return _Landed(end=End(lease=lease, settlement=settled, jitter=jitter), forbidden=forbidden)

    # -- storing it ----------------------------------------------------------------------------------------
    def _store_ends(self, landed: Sequence[_Landed]) -> None:
        """Store the ends of attempts; they are kept for later when the store does not answer.

        Stored again, one may turn out to be there already: only the store's word for it was lost.
        """
        again, self._unsettled = len(self._unsettled), [*self._unsettled, *landed]
        if not self._unsettled:
            return
        self.stored = True
        words = self._store.queue.settle([one.end for one in self._unsettled])
        stored, self._unsettled = self._unsettled, []
        for one in (one for one, lost in zip(stored[again:], words[again:], strict=True) if lost is not None):
            self._tell(notices.lost_lease(one.end.lease))
        do_all(partial(self._follow, one) for one, lost in zip(stored, words, strict=True) if lost is None)

    def _follow(self, landed: _Landed) -> None:
        """See what follows from an end that is stored."""
        settled = landed.end.settlement
        if settled is not None and settled.closing is not None:
            self._tell_of_gate(landed.end.lease)
        if landed.forbidden is not None:
            self._note_forbidden(landed.forbidden, landed.end.lease)

    def _tell_of_gate(self, lease: Lease) -> None:
        """Say so when the wait after a refusal has grown."""
        gate = self._store.organizations.bucket(lease.task.organization).gate
        served = self._organizations.find(lease.task.organization)
        if gate is not None and served is not None and gate.closings >= CLOSINGS_TO_DOUBLE:
            self._tell(notices.gate_stays_closed(served, gate, now=self._store.now()))

    # -- learning from it ----------------------------------------------------------------------------------
    def _learn(self, served: ServedOrganization, lease: Lease, verdict: Verdict) -> None:
        """Note what one answer says about the organization."""
        problem = notices.describe_problem(verdict)
        if verdict.stranger:
            self._stop_serving(served, Reason.NOT_THE_API, stranger_text(verdict.stranger))
        elif verdict.outcome is Outcome.CREATED and verdict.snapshot is not None:
            self._organizations.registration_due |= lease.task.kind in served.refusals.final
            served.note_success(lease.task)
            wrong = settlement.unexpected_snapshot(lease.task, verdict.snapshot)
            if wrong is not None:
                self._stop_serving(served, Reason.UNEXPECTED_SNAPSHOT, wrong)
        elif verdict.outcome is Outcome.REJECTED:
            served.confirmed = True
        elif verdict.outcome is Outcome.UNAUTHORIZED:
            self.tokens.note(served, lease, f"the token was refused (401): {problem}")

    def _note_forbidden(self, served: ServedOrganization, lease: Lease) -> None:
        """Note a 403 that is stored; after enough of them nothing more of its kind is tried."""
        left = self._store.views.count_open(lease.run_id, lease.task)
        if served.refusals.add(lease.task, left):
            self._organizations.registration_due = True
            self._tell(notices.group_refusal(served, lease.task))

    def stop_serving(self, identity: str, reason: Reason, because: str) -> None:
        """Send nothing more for the organization of this identity, if it is served here."""
        served = self._organizations.find(identity)
        if served is not None:
            self._stop_serving(served, reason, because)

    def _stop_serving(self, served: ServedOrganization, reason: Reason, because: str) -> None:
        """Send nothing more for an organization, and say so."""
        if served.stopped is None:
            served.stop(reason, because)
            self._organizations.registration_due = True
            self._tell(notices.organization_stop(served))

    def _note_lasting_failure(self, served: ServedOrganization, answer: Answer) -> bool:
        """Stop serving an organization to which the way is refused, before a proxy locks the account; True if it is."""
        if answer.lasting:
            why = f"the connection to the API is refused: {answer.failure}"
            self._stop_serving(served, Reason.CONNECTION_REFUSED, why)
        return answer.lasting

    def _note_answer(self, served: ServedOrganization, offset: float | None) -> None:
        """Note that somebody answered, and how far its calendar is ahead if its `Date` says so."""
        self._organizations.registration_due |= served.connect_failures > 0
        served.connect_failures, self._organizations.unreachable_since = 0, None
        served.answered_at = self._clock.boot()
        if offset is not None:
            served.calendar = ApiCalendar.read(offset, self._clock)

    def _leave_alone(self, served: ServedOrganization, lease: Lease, why: str) -> None:
        """Nothing was sent: the organization is left alone for a while; it was no attempt."""
        now = self._clock.boot()
        self._organizations.registration_due |= served.connect_failures == 0
        served.connect_failures += 1
        wait = served.backoff(self._rules).wait(served.connect_failures, self._draw)
        self._organizations.schedule(served, now + wait)
        served.wait_for(Reason.API_UNREACHABLE, self._clock.wall() + wait)
        if self._organizations.unreachable_since is None:
            self._organizations.unreachable_since = now
        self._tell(notices.unsent_attempt(served, lease, why, wait))


def do_all(acts: Iterable[Callable[[], None]]) -> None:
    """Do each of them, even when the store fails at one; raises the last of its errors in the end."""
    trouble: StoreTrouble | None = None
    for act in acts:
        try:
            act()
        except StoreTrouble as error:
            trouble = error
    if trouble is not None:
        raise trouble
