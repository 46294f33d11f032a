"""Bugs on purpose, one for each kind of promise: with any of them planted, the judge has to see it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.core.errors import LeaseLost
from orchestrator.core.tasks import Lease, Run, Snapshot, Task
from orchestrator.ratelimit.bucket import IN_SINCE_EVER
from orchestrator.store import organizations
from orchestrator.store.grants import Ask, Grant
from orchestrator.store.leases import End
from orchestrator.store.uncertain import UncertainTasks
from tests.crash import ledger as noted
from tests.crash.mortal import MortalQueue, MortalRuns, Part, at, leases_of
from tests.crash.points import Point

SET_TOKEN = "UPDATE token SET returns_at = :returns_at WHERE bucket = :bucket AND number = :number"


class _Tampering(MortalQueue):
    """A queue that can set a token's return behind the law's back."""

    def tamper(self, lease: Lease, returns_at: float) -> None:
        with self._database.write() as tx:
            found = organizations.find(tx, lease.task.organization) or {}
            tx.change(SET_TOKEN, bucket=found["bucket"], number=lease.token, returns_at=returns_at)


class SendTimeBucket(_Tampering):
    """A token is out for a period from its grant, not from its answer."""

    def settle(self, ends: Sequence[End]) -> list[LeaseLost | None]:
        lost = super().settle(ends)
        for end in ends:
            if end.settlement is not None and end.settlement.answered:
                self.tamper(end.lease, end.lease.granted_at + end.lease.limit.per)
        return lost


class TokenFreedOnError(_Tampering):
    """A token is back at once when nothing was answered."""

    def settle(self, ends: Sequence[End]) -> list[LeaseLost | None]:
        lost = super().settle(ends)
        for end in ends:
            if end.settlement is not None and not end.settlement.answered:
                self.tamper(end.lease, IN_SINCE_EVER)
        return lost


class NoPessimisticReturn(_Tampering):
    """Only the answer says when a token returns: what dies before it leaves the token in."""

    def grant(self, asks: Sequence[Ask]) -> list[Grant]:
        grants = super().grant(asks)
        for lease in leases_of(grants):
            self.tamper(lease, lease.granted_at)
        return grants


class DoubleGrant(MortalQueue):
    """A grant decides by the tokens as they were before it had the organization's lock."""

    def grant(self, asks: Sequence[Ask]) -> list[Grant]:
        return [grant for ask in asks for grant in self._grant_by_before(ask)]

    def _grant_by_before(self, ask: Ask) -> list[Grant]:
        before = organizations.KnownOrganizations(self._database).bucket(ask.organization)
        time.sleep(0.02)
        as_it_is = organizations.to_bucket
        organizations.to_bucket = lambda organization, tokens, held: before
        try:
            return super().grant([ask])
        finally:
            organizations.to_bucket = as_it_is


class NoSendingCommit(MortalQueue):
    """The first byte leaves without a word to the store."""

    def mark_sending(self, leases: Sequence[Lease]) -> list[LeaseLost | None]:
        for lease in leases:
            self.ledger.of(lease, noted.ASKED)
            self.fate.passing(Point.CONNECTED)
        lost: list[LeaseLost | None] = [None for _ in leases]
        self.note_committed(leases, lost)
        return lost


class SendingTooEarly(MortalQueue):
    """`sending` is committed with the grant: what was never sent becomes uncertain."""

    def grant(self, asks: Sequence[Ask]) -> list[Grant]:
        grants = super(MortalQueue, self).grant(asks)
        for lease in leases_of(grants):
            super(MortalQueue, self).mark_sending([lease])
            self.ledger.of(lease, noted.GRANTED)
            self.fate.passing(Point.GRANTED)
        return grants


class ResendUncertain(UncertainTasks):
    """What nobody knows the fate of is sent once more, against the policy."""

    def conclude(self, lease: Lease, *, found: Snapshot | None, **how: Any) -> bool:
        return super().conclude(lease, found=found, **how | {"resend": found is None and lease.resends == 0})


class NoRecovery(MortalQueue):
    """Nobody takes over what dead processes left."""

    def recover(self) -> int:
        return 0


class SplitEnqueue(MortalRuns):
    """A plan is frozen in two commits."""

    def start(self, run: Run, tasks: Iterable[Task], **how: Any) -> Run:
        plan = list(tasks)
        super(MortalRuns, self).start(run, plan[: len(plan) // 2], **how)
        with at(Point.ENQUEUING), self._database.write() as tx:
            tx.change("DELETE FROM run_task WHERE run = :run", run=run.id)
            tx.change("DELETE FROM run_organization WHERE run = :run", run=run.id)
            tx.change("DELETE FROM run WHERE id = :run", run=run.id)
        return super().start(run, plan, **how)


PLANTED: Mapping[str, Part] = {
    "send-time-bucket": SendTimeBucket,
    "token-freed-on-error": TokenFreedOnError,
    "no-pessimistic-return": NoPessimisticReturn,
    "double-grant": DoubleGrant,
    "no-sending-commit": NoSendingCommit,
    "sending-too-early": SendingTooEarly,
    "resend-uncertain": ResendUncertain,
    "no-recovery": NoRecovery,
    "split-enqueue": SplitEnqueue,
}


HARDER: Mapping[str, str] = {"token-freed-on-error": "reset-after=0.2"}
"""The trouble that a bug needs to show itself soon, where it needs more than the ordinary."""


def planted(name: str | None) -> Part | None:
    """The part of a store with this bug, or none."""
    return None if name is None else PLANTED[name]
