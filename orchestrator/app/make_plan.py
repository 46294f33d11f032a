"""Make a plan: what a run would do now, without doing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.api import OnPause
from orchestrator.core import AccessRefused, ApiUnavailable, Reason, Result, Status
from orchestrator.planning import OrganizationSurvey, Plan, Preview, survey_events
from orchestrator.worker import ServedOrganization

if TYPE_CHECKING:
    from orchestrator.app.make_snapshots import App


def left_out(plan: Plan, lanes: Mapping[str, ServedOrganization], in_doubt: Collection[str]) -> Plan:
    """The plan without tests whose names could not be checked just now: they are neither failed nor sent unchecked.

    Raises `AccessRefused` or `ApiUnavailable` when nothing is left: frozen, an empty plan would be carried on as if
    it had been all that was meant.
    """
    counts = Counter(
        t.organization for t in plan.tasks if t.refusal is not None and t.organization in in_doubt
    )
    if not counts:
        return plan
    notes = []
    for known_as, count in counts.items():
        lane = lanes[known_as]
        what = (
            "1 snapshot of a test with a test_name is"
            if count == 1
            else f"{count} snapshots of tests with a test_name are"
        )
        notes.append(
            f"{lane.name}: {what} left out, since the names cannot be checked now: run the file again"
        )
        if lane.stopped is None:
            lane.stop(Reason.API_UNREACHABLE, "it cannot be reached")
    kept = tuple(t for t in plan.tasks if t.refusal is None or t.organization not in in_doubt)
    if not kept:
        refused = any(lanes[one].stopped is Reason.TOKEN_REFUSED for one in counts)
        error = AccessRefused if refused else ApiUnavailable
        raise error(f"{'; '.join(notes)}. Nothing is planned and nothing was sent")
    return replace(plan, tasks=kept, notes=(*plan.notes, *notes))


def taken_as_written(plan: Plan) -> Plan:
    """The plan as it is if every test is called what the job file says: offline nobody can check it."""
    unchecked = len({task.test_id for task in plan.tasks if task.refusal is not None})
    if not unchecked:
        return plan
    tests = "the name of 1 test is" if unchecked == 1 else f"the names of {unchecked} tests are"
    tasks = tuple(replace(task, refusal=None) for task in plan.tasks)
    return replace(
        plan, tasks=tasks, notes=(*plan.notes, f"{tests} not checked offline; a run checks before it sends")
    )


PUBLIC_NOTE = (
    "ThousandEyes' documents contradict each other about is_public: check the first link before you share it."
)


def planned(app: App, *, offline: bool, again: bool = False, tell: OnPause | None = None) -> Preview:
    """What a run would do now, without doing it; `offline` asks no organization anything."""
    surveys = (
        {n: OrganizationSurvey() for n in app.jobfile.wanted_organizations} if offline else app.survey(tell)
    )
    lanes = app.lanes(surveys, only_look=True)
    plan = app.plan(surveys, lanes)
    if offline:
        plan = taken_as_written(plan)
    events = tuple(event.text for event in survey_events(surveys) if event.level != "debug")
    return app.foresee(replace(plan, notes=events + plan.notes), lanes, again=again)


def still_to_make(result: Result, epoch: float) -> bool:
    """Whether a run would make a snapshot that the store knows of: failed before, expired, or still to come."""
    if result.status is Status.CREATED:
        return result.expires_at is not None and result.expires_at <= epoch
    return result.status is not Status.UNCERTAIN
