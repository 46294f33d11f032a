"""Make a plan: what a run would do now, without doing it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator.api import OnPause
from orchestrator.app.organizations import Organizations
from orchestrator.core import (
    AccessRefused,
    ApiUnavailable,
    Existence,
    ListedEvents,
    Reason,
    Result,
    Status,
    Task,
    plural,
)
from orchestrator.planning import (
    OrganizationSurvey,
    Plan,
    Preview,
    make_plan,
    make_preview,
    survey_events,
)
from orchestrator.ratelimit import ForecastStart, forecast_starts
from orchestrator.worker import ServedOrganization

_REFUSED = (Reason.TOKEN_REFUSED, Reason.CONNECTION_REFUSED)

PUBLIC_NOTE = (
    "ThousandEyes' documents contradict each other about is_public: check the first link before you share it."
)


def preview_run(organizations: Organizations, *, again: bool = False, tell: OnPause | None = None) -> Preview:
    """The snapshots that a run would make now, and when; `tell` hears of waits."""
    surveys = organizations.survey(tell)
    served = organizations.serve(surveys, read_only=True)
    plan = plan_tasks(organizations, surveys, served)
    if organizations.offline:
        plan = accept_names(plan)
    events = tuple(event.text for event in survey_events(surveys) if event.level != "debug")
    return preview_plan(organizations, replace(plan, notes=events + plan.notes), served, again=again)


def plan_tasks(
    organizations: Organizations,
    surveys: Mapping[str, OrganizationSurvey],
    served: Mapping[str, ServedOrganization],
) -> Plan:
    """The tasks of a run, for the organizations that were surveyed."""
    now = _api_epoch(organizations, served)
    plan = make_plan(organizations.jobfile, surveys, organizations.identities, now=now)
    plan = replace(plan, notes=(*plan.notes, *_ends_notes(organizations, plan)))
    if any(task.expect_saved_event is None for task in plan.tasks):
        plan = replace(plan, notes=(*plan.notes, PUBLIC_NOTE))
    return plan


def preview_plan(
    organizations: Organizations,
    plan: Plan,
    served: Mapping[str, ServedOrganization],
    *,
    again: bool = False,
) -> Preview:
    """The tasks of a plan that are made already, and when a run would make the rest: all, when `again`."""
    store = organizations.store
    latest = {} if again else store.views.latest_results(plan.tasks)
    listed = {task.base_key: task.saved_events for task in plan.tasks}
    known = {key: one for key, one in latest.items() if not is_to_make(one, store.epoch(), listed.get(key))}
    open_tasks: dict[str, list[Task]] = defaultdict(list)
    for task in plan.tasks:
        stopped = served[task.organization].stopped is not None
        if task.base_key not in known and task.refusal is None and not stopped:
            open_tasks[task.organization].append(task)
    starts: list[ForecastStart] = []
    for identity, tasks in open_tasks.items():
        bucket, limit = store.organizations.bucket(identity), served[identity].limit
        epoch = _api_epoch(organizations, served)
        starts += forecast_starts(tasks, bucket, limit, now=store.now(), epoch=epoch)
    return make_preview(
        organizations.jobfile,
        plan.tasks,
        shown={one.identity: (one.name, one.limit) for one in served.values()},
        known=known,
        starts=starts,
        notes=plan.notes,
        now=organizations.clock.wall(),
        stopped=tuple(one.stopped for one in served.values() if one.stopped is not None),
    )


def is_to_make(result: Result, epoch: float, listed: ListedEvents | None = None) -> bool:
    """True if a run would make a snapshot that the store knows of: failed before, gone by now, or still to come."""
    if result.status is Status.CREATED:
        return result.existence(listed, epoch) is Existence.GONE
    return result.status is not Status.UNCERTAIN


def _ends_notes(organizations: Organizations, plan: Plan) -> Iterator[str]:
    """Notes on saved events whose thirty days are over: made again, or treated as existing unseen."""
    latest, epoch = organizations.store.views.latest_results(plan.tasks), organizations.store.epoch()
    seen: Counter[tuple[str, Existence]] = Counter()
    for task in plan.tasks:
        result = latest.get(task.base_key)
        if result is not None and result.may_expire_at is not None:
            seen[task.organization_name, result.existence(task.saved_events, epoch)] += 1
    for (name, there), count in seen.items():
        snapshots = plural(count, "saved event")
        if there is Existence.GONE:
            yield f"{name}: {snapshots} made over 30 days ago and no longer in the list of tests: made again"
        elif there is Existence.UNVERIFIED:
            yield (
                f"{name}: {snapshots} made over 30 days ago may be gone, and the list of tests cannot be read: treated "
                "as existing (unverified); --again makes new ones"
            )


def accept_names(plan: Plan) -> Plan:
    """The plan as it is if every test is called what the job file says: offline nobody can check it."""
    unchecked = len({task.test_id for task in plan.tasks if task.refusal is not None})
    if not unchecked:
        return plan
    tests = "the name of 1 test is" if unchecked == 1 else f"the names of {unchecked} tests are"
    tasks = tuple(replace(task, refusal=None) for task in plan.tasks)
    return replace(
        plan, tasks=tasks, notes=(*plan.notes, f"{tests} not checked offline; a run checks before it sends")
    )


def leave_out_unchecked(
    organizations: Organizations,
    plan: Plan,
    surveys: Mapping[str, OrganizationSurvey],
    served: Mapping[str, ServedOrganization],
) -> Plan:
    """The plan without tests whose names could not be checked just now: they are neither failed nor sent unchecked.

    Raises `AccessRefused` or `ApiUnavailable` when nothing is left: frozen, an empty plan would be carried on as if
    it had been all that was meant.
    """
    in_doubt = {organizations.identities[name] for name, survey in surveys.items() if survey.in_doubt}
    left_out = [task for task in plan.tasks if task.refusal is not None and task.organization in in_doubt]
    if not left_out:
        return plan
    counts = Counter(task.organization for task in left_out)
    notes = [_left_out_note(served[identity].name, count) for identity, count in counts.items()]
    for identity in counts:
        if served[identity].stopped is None:
            served[identity].stop(Reason.API_UNREACHABLE, "it cannot be reached")
    kept = tuple(task for task in plan.tasks if task.refusal is None or task.organization not in in_doubt)
    if not kept:
        refused = any(served[identity].stopped in _REFUSED for identity in counts)
        error = AccessRefused if refused else ApiUnavailable
        raise error(f"{'; '.join(notes)}. Nothing is planned and nothing was sent")
    return replace(plan, tasks=kept, notes=(*plan.notes, *notes))


def _left_out_note(name: str, count: int) -> str:
    snapshots = (
        "1 snapshot of a test with a test_name is"
        if count == 1
        else f"{count} snapshots of tests with a test_name are"
    )
    return f"{name}: {snapshots} left out, since the names cannot be checked now: run the file again"


def _api_epoch(organizations: Organizations, served: Mapping[str, ServedOrganization]) -> float:
    """Epoch seconds by the API's calendar; the organizations of one file have the same one."""
    offsets = (one.calendar.offset for one in served.values())
    return organizations.clock.wall() + next(filter(None, offsets), 0.0)
