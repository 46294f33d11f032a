"""The preview of a plan: its order, its end and the time that a cluster has to allow."""

from __future__ import annotations

from orchestrator.core.jobs import JobFile, Limit, Window
from orchestrator.core.tasks import Result, Status, Task
from orchestrator.planning.preview import Preview, make_preview
from orchestrator.ratelimit.forecast import ASSUMED_LATENCY, ForecastStart

NOON = 1_795_003_200.0
TASKS = [
    Task(
        organization="ACME",
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


def preview(*starts: ForecastStart, existing: dict[str, Result] | None = None) -> Preview:
    """A preview of the four tasks."""
    return make_preview(
        JobFile(name="f", jobs=(), organizations={}),
        TASKS,
        shown={"ACME": ("acme", Limit())},
        known=existing or {},
        starts=starts,
        notes=(),
        now=NOON,
    )


def test_what_exists_goes_first_and_what_cannot_go_last() -> None:
    """Between them the snapshots go by the time at which they start."""
    exists = {TASKS[3].base_key: Result(task=TASKS[3], status=Status.CREATED)}
    view = preview(
        ForecastStart(task=TASKS[0], after=None, group=3),
        ForecastStart(task=TASKS[1], after=301.0, group=2),
        ForecastStart(task=TASKS[2], after=0.0, group=1),
        existing=exists,
    )
    assert [(one.task.test_id, one.starts_at, one.group) for one in view.snapshots] == [
        ("3", None, None),
        ("2", NOON, 1),
        ("1", NOON + 301, 2),
        ("0", None, 3),
    ]
    assert {one.organization for one in view.snapshots} == {"acme"}
    assert view.ends_at == NOON + 301 + ASSUMED_LATENCY


def test_a_deadline_has_room_for_the_retries_of_one_task_in_whole_minutes() -> None:
    """With nothing to make that room alone is left."""
    view = preview()
    assert view.ends_at is None
    assert view.active_deadline == -(-view.jobfile.retry.within // 60) * 60
