"""The queue's transitions of one organization alone, where a test has nothing to do with the others of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.core.errors import LeaseLost
from orchestrator.core.tasks import Lease, Settlement
from orchestrator.ratelimit.bucket import Wait
from orchestrator.store.grants import Ask
from orchestrator.store.leases import End
from orchestrator.store.store import Store


def grant(store: Store, ask: Ask) -> Lease | Wait | None:
    """A lease, or what to wait for; None: nothing of the run is left there."""
    (answer,) = store.queue.grant([ask])
    while not answer.reached:  # its organization got another bucket while the lock was waited for
        (answer,) = store.queue.grant([ask])
    return answer.leases[0] if answer.leases else answer.wait


def mark_sending(store: Store, lease: Lease) -> None:
    """Its first byte leaves; raises LeaseLost."""
    _raise_lost(store.queue.mark_sending([lease]))


def settle(store: Store, lease: Lease, settlement: Settlement, *, jitter: float = 0.0) -> None:
    """The end of an attempt; raises LeaseLost."""
    _raise_lost(store.queue.settle([End(lease=lease, settlement=settlement, jitter=jitter)]))


def give_back(store: Store, lease: Lease) -> None:
    """Nothing was sent; raises LeaseLost."""
    _raise_lost(store.queue.settle([End(lease=lease, settlement=None)]))


def _raise_lost(losses: Sequence[LeaseLost | None]) -> None:
    (lost,) = losses
    if lost is not None:
        raise lost
