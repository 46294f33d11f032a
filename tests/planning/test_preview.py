"""The preview of a plan: its order, its end and the time that a cluster has to allow."""

from __future__ import annotations

from orchestrator.core.jobs import JobFile, Limit, Window
from orchestrator.core.tasks import Existence, Result, Status, Task
from orchestrator.planning.preview import PlannedOrganization, PlanTotals, Preview, order_snapshots
from orchestrator.ratelimit.forecast import ASSUMED_LATENCY, ForecastStart

NOON = 1_795_003_200.0
TASKS = [
    Task(
        organization="ACME",
        organization_name="acme",
        account_group="",
        test_id=str(at),
        window=Window(start=int(NOON) - 3600, end=int(NOON)),
        is_public=False,
        display_name="",
        job_name="night",
        position=at,
    )
    for at in range(4)
]


def planned(*starts: ForecastStart, existing: dict[str, Result] | None = None) -> PlannedOrganization:
    """The four tasks of an organization."""
    snapshots = order_snapshots(
        TASKS,
        known=existing or {},
        ended=dict.fromkeys(existing or {}, Existence.UNVERIFIED),
        starts={start.task.key: start for start in starts},
        now=NOON,
    )
    return PlannedOrganization(name="acme", limit=Limit(), snapshots=snapshots)


def total(*organizations: PlannedOrganization) -> PlanTotals:
    """What is counted of a preview of these."""
    view = Preview(
        jobfile=JobFile(name="f", jobs=(), organizations={}),
        make=lambda: iter(organizations),
        asked=len(TASKS),
        notes=("mind this",),
        now=NOON,
    )
    totals = PlanTotals(view)
    for one in view:
        totals.add(one)
    return totals


def test_what_exists_goes_first_and_what_cannot_go_last() -> None:
    """Between them the snapshots go by the time at which they start."""
    exists = {TASKS[3].base_key: Result(task=TASKS[3], status=Status.CREATED)}
    found = planned(
        ForecastStart(task=TASKS[0], after=None, group=3),
        ForecastStart(task=TASKS[1], after=301.0, group=2),
        ForecastStart(task=TASKS[2], after=0.0, group=1),
        existing=exists,
    )
    assert [(one.task.test_id, one.starts_at, one.group) for one in found.snapshots] == [
        ("3", None, None),
        ("2", NOON, 1),
        ("1", NOON + 301, 2),
        ("0", None, 3),
    ]
    totals = total(found)
    assert (totals.snapshots, totals.existing, totals.organizations) == (4, 1, 1)
    assert totals.ends_at == NOON + 301 + ASSUMED_LATENCY


def test_saved_events_that_may_have_ended_are_counted_by_organization() -> None:
    """Beside what is known without looking at a task."""
    exists = {task.base_key: Result(task=task, status=Status.CREATED) for task in TASKS[:2]}
    mind, note = total(planned(existing=exists)).notes
    assert mind == "mind this"
    assert note.startswith("acme: 2 saved events made over 30 days ago may be gone")


def test_a_deadline_has_room_for_the_retries_of_one_task_in_whole_minutes() -> None:
    """With nothing to make that room alone is left."""
    totals = total(planned())
    assert totals.ends_at is None
    assert totals.active_deadline == 60 * 60
