"""One commit for all threads that want one at the same time."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.core import GrantStale, Lease, LeaseLost, TesnapError

MOST_IN_A_COMMIT = 50
"""So many first bytes are committed at once: whoever waits for a later commit waits for no more of them."""

Commit = Callable[[Sequence[Lease]], list[LeaseLost | None]]
"""Has the store know that the first bytes of some leases are about to leave; those that were lost are told."""


@dataclass(slots=True)
class _Member:
    """One lease of a commit, and what is in the way of its first byte: until it is committed, that."""

    lease: Lease
    done: bool = False
    refusal: TesnapError | None = field(default_factory=GrantStale)


class GroupCommit:
    """One commit for all threads that want one at the same time: the first that gets there commits for all that wait.

    What the store says of a lease reaches the thread that asked for it, and no other; the error of a commit reaches
    those whose leases were in it.
    """

    def __init__(self, commit: Commit) -> None:
        self._commit, self._committing = commit, threading.Lock()
        self._waiting: deque[_Member] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def __call__(self, leases: Sequence[Lease]) -> list[LeaseLost | None]:
        own = [_Member(lease) for lease in leases]
        self._waiting.extend(own)
        while not all(member.done for member in own):
            with self._committing:
                if not all(member.done for member in own):
                    self._commit_some()
        return [_lost_lease(member) for member in own]

    def _commit_some(self) -> None:
        """Commit for those that have waited longest."""
        members = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_A_COMMIT))]
        try:
            for member, lost in zip(members, self._commit([one.lease for one in members]), strict=True):
                member.refusal = lost
        except TesnapError as error:
            for member in members:
                member.refusal = error
        finally:
            for member in members:
                member.done = True


def _lost_lease(member: _Member) -> LeaseLost | None:
    """The lease's loss, if it was lost; raises anything else that is in its way.

    Each thread raises an error of its own: a traceback belongs to one.
    """
    if member.refusal is None or isinstance(member.refusal, LeaseLost):
        return member.refusal
    raise copy.copy(member.refusal) from member.refusal
