"""One organization as one process serves it: what it learnt from the answers so far.

Nothing here is durable; what has to survive a crash or be seen by other processes is in the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.model import Limit, Reason, Task

REFUSALS = 3
"""So many 403 without a success for one (account group, is_public), and the rest of it is not tried."""


@dataclass(slots=True, kw_only=True)
class Lane:
    """The state of one organization in one process; times are of the process's boot clock.

    `reload` reads the credential's source again and says whether its text changed. `offset` is how far
    the API's calendar is ahead of ours in seconds.
    """

    identity: str
    name: str
    limit: Limit
    timeout: float
    reload: Callable[[], bool] = lambda: False
    offset: float = 0.0
    confirmed: bool = False
    in_flight: int = 0
    look_at: float = 0.0
    reloaded: bool = False
    stopped: Reason | None = None
    stopped_because: str = ""
    connect_failures: int = 0
    unreachable_since: float | None = None
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

    def forbidden(self, task: Task) -> bool:
        """Note a 403; whether that was the one too many."""
        pair = (task.account_group, task.is_public)
        self.refusals[pair] += 1
        return self.refusals[pair] == REFUSALS and pair not in self.succeeded

    def success(self, task: Task) -> None:
        """Note that a snapshot was made."""
        self.confirmed = True
        self.succeeded.add((task.account_group, task.is_public))

    def stop(self, reason: Reason, because: str) -> None:
        """Send nothing more for this organization; its tasks stay pending."""
        self.stopped, self.stopped_because = reason, because
        self.waiting, self.waiting_until = reason, None
