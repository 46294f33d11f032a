"""The tasks that are measured with: like a real plan's, without its survey."""

from __future__ import annotations

from orchestrator.core.clock import Clock
from orchestrator.core.jobs import Limit, Window, identity
from orchestrator.core.tasks import Lease, Run, Settlement, Snapshot, Status, Task
from orchestrator.ratelimit.bucket import Wait
from orchestrator.store.grants import Ask
from orchestrator.store.store import Store
from tests.support.clock import VirtualClock
from tests.support.single import grant, mark_sending, settle

BASE_URL = "https://api.example.com/v7"
LIMIT = Limit()
TIMEOUT = 60.0
RUN = "r1"


def identities(count: int) -> list[str]:
    """So many organizations."""
    return [identity(BASE_URL, org_id=str(number)) for number in range(count)]


def tasks(organizations: list[str], each: int, *, ready_at: float = 0.0) -> list[Task]:
    """A plan in which the organizations take turns."""
    return [
        Task(
            organization=organization,
            account_group="1234",
            test_id=str(200_000 + number),
            window=Window(start=1_794_990_000, end=1_794_993_600),
            is_public=False,
            test_name=f"Checkout {number}",
            display_name=f"Checkout {number} 2026-11-20T14:00:00Z +1h [{{key}}]",
            job_name="nightly",
            position=number * len(organizations) + place,
            ready_at=ready_at,
        )
        for number in range(each)
        for place, organization in enumerate(organizations)
    ]


def enqueue(store: Store, plan: list[Task], clock: Clock) -> Run:
    """Start the run."""
    return store.runs.start(Run(id=RUN, job="nightly", created_at=clock.wall(), tasks=len(plan)), plan)


def make_one(store: Store, organization: str, clock: VirtualClock) -> None:
    """One snapshot's three commits: the grant, the first byte, the answer."""
    ask = Ask(
        organization=organization,
        run_id=RUN,
        limit=LIMIT,
        timeout=TIMEOUT,
        epoch=clock.wall(),
        boot=clock.boot(),
    )
    lease = grant(store, ask)
    if not isinstance(lease, Lease):
        raise TypeError(f"{organization}: a grant was expected, not {Wait.__name__} or nothing: {lease}")
    mark_sending(store, lease)
    snapshot = Snapshot(id=f"s{lease.task.key}", event_id="9", link="https://app.example.com/share/1")
    made = Settlement(status=Status.CREATED, answered=True, http_status=201, snapshot=snapshot)
    settle(store, lease, made)
