"""What a durable queue promises: the seam between the worker and the stores.

Every method that changes something is one transaction and durable when it returns. Times named
`*_at`, `until` or `now` are *store time* (SQLite: the kernel's boot clock; PostgreSQL: the database's
clock); epoch values are named so. A store that cannot answer raises `StoreUnavailable`; a change by a
process whose lease was taken over raises `LeaseLost` and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.bucket import Bucket, Wait
from orchestrator.model import Lease, Limit, Reason, Result, Run, RunState, Settlement, Snapshot, Task

Kinds = Collection[tuple[str, bool]]
"""What a permission may be refused for within an organization: pairs of account group and is_public."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One process asking for a token of an organization, for a task of its run.

    `epoch` is the API's calendar (our wall clock corrected by the server's `Date`), by which windows
    end; `boot` the asking process's boot clock, read before the asking.
    """

    organization: str
    run_id: str
    limit: Limit
    timeout: float
    epoch: float
    boot: float = 0.0
    without: frozenset[tuple[str, bool]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many tasks of a run, or of one organization in it, are where.

    `created` were made by the run itself, `existing` by another one; `refused` of the failed ones were refused
    when they were planned, before anything was sent.
    """

    created: int = 0
    existing: int = 0
    failed: int = 0
    uncertain: int = 0
    queued: int = 0
    leased: int = 0
    sending: int = 0
    refused: int = 0

    @property
    def pending(self) -> int:
        """Tasks that are not settled."""
        return self.queued + self.leased + self.sending

    @property
    def settled(self) -> int:
        """Tasks that are."""
        return self.created + self.existing + self.failed + self.uncertain

    @property
    def total(self) -> int:
        """All tasks."""
        return self.settled + self.pending

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            created=self.created + other.created,
            existing=self.existing + other.existing,
            failed=self.failed + other.failed,
            uncertain=self.uncertain + other.uncertain,
            queued=self.queued + other.queued,
            leased=self.leased + other.leased,
            sending=self.sending + other.sending,
            refused=self.refused + other.refused,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run, its counts and its user's names by organization identity, and how many live processes serve it."""

    run: Run
    counts: Mapping[str, Counts] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    processes: int = 0

    @property
    def total(self) -> Counts:
        """Counts over all organizations."""
        return sum(self.counts.values(), Counts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One live process at one organization of a run: the kinds refused it, and why it sends nothing at all."""

    refused: frozenset[tuple[str, bool]] = frozenset()
    stopped: Reason | None = None


class Queue(Protocol):
    """A durable queue of tasks and the buckets they wait for."""

    # -- time and place --------------------------------------------------------------------------------
    def now(self) -> float:
        """The store's own clock, by which tokens return."""
        ...

    def epoch(self) -> float:
        """The calendar as the store has it (epoch seconds): for expiry and for showing store times."""
        ...

    def describe(self) -> str:
        """Where the store is, without secrets: `sqlite:////path`, `postgresql://host/db`."""
        ...

    def close(self) -> None:
        """Give up ownership and the connection. Leases still held are recovered by whoever looks next."""
        ...

    # -- organizations ---------------------------------------------------------------------------------
    def join(self, base_url: str, name: str, org_id: str | None) -> str:
        """The identity of an organization, remembered with its name as an alias.

        With an `org_id` the bucket and the tasks known under the name alone are merged into the true one,
        the later return times winning; without one an identity learnt earlier for the same name is used.
        """
        ...

    def present_identity(self, organization: str) -> str:
        """The identity by which an organization is known by now, or this one if it is not known; only reads."""
        ...

    def names(self) -> Mapping[str, str]:
        """The user's latest name of each identity."""
        ...

    def bucket(self, organization: str) -> Bucket:
        """The organization's tokens, gate and held classes, as they are now."""
        ...

    def hold_back(
        self, organization: str, limit: Limit, *, timeout: float = 0.0, gained: float = math.inf
    ) -> None:
        """Have each token out for its whole hold from now, a full one at least: the store's clock was set forward.

        With an attempt's `timeout`, what was given back is out for as long as if its request had had no answer:
        it may have been granted too early, over one that has none. Tokens that are held already, and a clock that
        has `gained` so much more since: each is out for that much longer, and no longer than a whole hold from now.
        """
        ...

    # -- runs ------------------------------------------------------------------------------------------
    def start_run(self, run: Run, tasks: Sequence[Task], *, again: bool = False) -> Run:
        """Freeze a plan under its run id, all or nothing; a run that exists is returned as it is.

        A task is matched with the latest generation of the same snapshot: created and not expired (by
        `epoch()`), uncertain or being worked on: the run refers to it; created and expired, or `again`:
        a new generation; failed: queued again. Raises `UsageError` when the run id belongs to another
        job name.
        """
        ...

    def look_again(self, run_id: str) -> None:
        """Have evidence for the run's uncertain tasks looked for once more, as when a run starts."""
        ...

    def latest(self, tasks: Sequence[Task]) -> Mapping[str, Result]:
        """What the store already knows of these tasks (latest generation), by their base key: for `plan`."""
        ...

    def find_run(self, text: str) -> Run:
        """The run with this id, unique prefix, or the latest for `last`; raises `UsageError` naming near ones."""
        ...

    def runs(self) -> list[RunView]:
        """All runs, the latest first."""
        ...

    def view(self, run_id: str) -> RunView:
        """One run with its counts by organization."""
        ...

    def end_run(self, run_id: str, state: RunState) -> None:
        """Set a run's state.

        It finishes only while it is active and nothing of it is pending: somebody may have queued a task of it
        again since it was looked at.
        """
        ...

    def results(self, run_id: str, *, settled_since: float | None = None) -> Iterator[Result]:
        """A run's tasks in the order of the plan; with `settled_since` those settled at or after that store time."""
        ...

    def snapshots(self, *, settled_since: float | None = None) -> Iterator[tuple[str, Result]]:
        """Every snapshot that is known as created, over all runs and each once, the latest first.

        With the id of the run that made it (empty: none did), which says what its organization is called.
        `settled_since` is epoch seconds. Otherwise the tasks are as `latest` has them: without job or priority.
        """
        ...

    # -- making snapshots ------------------------------------------------------------------------------
    def serve(
        self,
        run_id: str,
        organizations: Collection[str],
        *,
        refused: Mapping[str, Kinds] | None = None,
        stopped: Mapping[str, Reason] | None = None,
    ) -> None:
        """Declare for which organizations this live process sends tasks of the run.

        The kinds `refused` it there it does not send; `stopped` says why it sends nothing there at present.
        """
        ...

    def serving(self, run_id: str) -> Mapping[str, Sequence[Serving]]:
        """What the live processes of a run have declared, by organization identity."""
        ...

    def grant(self, ask: Ask) -> Lease | Wait | None:
        """A token and a task in one transaction, or what to wait for; None: nothing of the run is left there.

        "Left" are tasks queued, leased or sending, by whomever.
        """
        ...

    def outlook(self, ask: Ask) -> Wait | None:
        """What `grant` would say to wait for (None: nothing to wait for), without changing anything."""
        ...

    def sending(self, lease: Lease) -> None:
        """Commit that the first byte is about to leave. Raises `LeaseLost`."""
        ...

    def settle(self, lease: Lease, settlement: Settlement, *, jitter: float = 0.0) -> None:
        """Write the attempt's result, the task's state, the token's return and the gate in one commit.

        An UNCERTAIN settlement sets the time from which evidence may be looked for. What was taken over and
        is still uncertain is settled by an answer all the same. Raises `LeaseLost`.
        """
        ...

    def give_back(self, lease: Lease) -> None:
        """Nothing was sent: the token is in at once and the task is queued again. No attempt. Raises `LeaseLost`."""
        ...

    def touch(self) -> None:
        """Write something that changes nothing, to find out whether the store takes it."""
        ...

    def recover(self) -> int:
        """Take over from dead processes: what was leased is queued, what was sending is uncertain. How many.

        Also sees to a store's clock that was set back: no wait lasts for as long as that.
        """
        ...

    # -- uncertain tasks -------------------------------------------------------------------------------
    def evidence_due(self, run_id: str) -> list[tuple[Lease, Result]]:
        """Uncertain tasks of the run whose evidence may be looked for now, with the attempt that left them.

        The leases are this run's, whichever run made the attempt.
        """
        ...

    def known_snapshots(self, organization: str) -> frozenset[str]:
        """Ids of saved events and snapshots that the store already has for an organization."""
        ...

    def conclude(self, lease: Lease, *, found: Snapshot | None, how: str = "", resend: bool = False) -> bool:
        """End the search for evidence: created as found, queued once more (flagged), or uncertain for good.

        Whether it was queued: in a run that was cancelled nobody would send it.
        """
        ...

    # -- by hand ---------------------------------------------------------------------------------------
    def retry_failed(self, run_id: str) -> int:
        """Queue the run's failed tasks again; how many. A finished run is active again, a cancelled one is not."""
        ...

    def settle_by_hand(self, run_id: str, key: str, *, made: Snapshot | None) -> Result:
        """Settle an uncertain task, by the beginning of its key: created as `made`, or (None) queued again.

        A finished run of which a task is queued again is active again; a cancelled one stays so.
        Raises `UsageError` when no uncertain task of the run, or more than one, is meant.
        """
        ...

    # -- watching --------------------------------------------------------------------------------------
    def versions(self, run_id: str) -> Mapping[str, int]:
        """A number for each organization of the run that changes whenever a task or token of it does."""
        ...
