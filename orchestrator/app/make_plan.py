"""Make a plan: what a run would do now, without doing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator.api import OnPause
from orchestrator.app.organizations import Organizations
from orchestrator.core import (
    AccessRefused,
    ApiUnavailable,
    Existence,
    ListedEvents,
    Reason,
    RefusedOrganization,
    Result,
    Status,
    Task,
)
from orchestrator.planning import (
    OrganizationSurvey,
    Plan,
    PlannedOrganization,
    Preview,
    describe_fewer,
    join_texts,
    make_plan,
    order_snapshots,
    survey_events,
)
from orchestrator.ratelimit import ForecastStart, forecast_starts
from orchestrator.worker import ServedOrganization

_REFUSED = (Reason.TOKEN_REFUSED, Reason.TOKEN_MISSING, Reason.CONNECTION_REFUSED)

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
    refusals = (f"{one.name} is refused: {one.text}" for one in untold_refusals(plan, surveys))
    events = (*(event.text for event in survey_events(surveys) if event.level != "debug"), *refusals)
    return preview_plan(organizations, replace(plan, notes=events + plan.notes), served, again=again)


def untold_refusals(plan: Plan, surveys: Mapping[str, OrganizationSurvey]) -> Iterator[RefusedOrganization]:
    """The organizations that the plan leaves out for more than what their surveys have told."""
    told = {(name, survey.because) for name, survey in surveys.items() if survey.is_refused}
    return (one for one in plan.refused if (one.name, one.text) not in told)


def plan_tasks(
    organizations: Organizations,
    surveys: Mapping[str, OrganizationSurvey],
    served: Mapping[str, ServedOrganization],
) -> Plan:
    """The tasks of a run, for the organizations that were surveyed."""
    now = _api_epoch(organizations, served)
    plan = make_plan(organizations.jobfile, surveys, organizations.identities, now=now)
    if plan.asked and any(job.expect_saved_event is None for job in organizations.jobfile.jobs):
        plan = replace(plan, notes=(*plan.notes, PUBLIC_NOTE))
    if organizations.offline or organizations.jobfile.part:
        return plan
    return replace(plan, notes=(*plan.notes, *_describe_fewer(organizations, plan, served)))


def _describe_fewer(
    organizations: Organizations, plan: Plan, served: Mapping[str, ServedOrganization]
) -> Iterator[str]:
    """The note on organizations of which there is much less than there was."""
    counts = {served[identity].name: count for identity, count in plan.counts.items()}
    wanted = set(organizations.jobfile.wanted_organizations) - {one.name for one in plan.refused}
    successes = organizations.store.starts.successes(organizations.jobfile.name)
    return describe_fewer(counts, {name: one for name, one in successes.items() if name in wanted})


def preview_plan(
    organizations: Organizations,
    plan: Plan,
    served: Mapping[str, ServedOrganization],
    *,
    again: bool = False,
) -> Preview:
    """The tasks of a plan that are made already, and when a run would make the rest: all, when `again`."""
    return Preview(
        jobfile=organizations.jobfile,
        make=_Previewing(organizations, plan, served, again=again).organizations_by_name,
        asked=plan.asked,
        notes=plan.notes,
        now=organizations.clock.wall(),
        stopped=(
            *(one.stopped for one in served.values() if one.stopped is not None),
            *(one.reason for one in plan.refused),
        ),
    )


class _Previewing:
    """Looks up the tasks of a plan, and forecasts when a run would make them, one bucket after another."""

    def __init__(
        self,
        organizations: Organizations,
        plan: Plan,
        served: Mapping[str, ServedOrganization],
        *,
        again: bool,
    ) -> None:
        self._organizations, self._store = organizations, organizations.store
        self._plan, self._served, self._again = plan, served, again

    def organizations_by_name(self) -> Iterator[PlannedOrganization]:
        """The organizations by name; those that share a bucket are forecast together, and the others wait here for their turn."""
        names = {identity: self._served[identity].name for identity in self._plan.organizations}
        sharing = self._organizations.store.organizations.sharing(list(names))
        ready: dict[str, PlannedOrganization] = {}
        for identity in sorted(names, key=lambda one: (names[one], one)):
            if identity not in ready:
                ready |= self._preview_bucket(sharing.get(identity, (identity,)))
            yield ready.pop(identity)

    def _preview_bucket(self, identities: Sequence[str]) -> dict[str, PlannedOrganization]:
        """The organizations that share a bucket."""
        looked = {identity: self._look_up(identity) for identity in identities}
        open_tasks = [task for one in looked.values() for task in one.open]
        starts = {start.task.key: start for start in self._forecast(open_tasks)}
        return {
            identity: PlannedOrganization(
                name=self._served[identity].name,
                limit=self._served[identity].limit,
                snapshots=order_snapshots(
                    one.tasks,
                    known=one.known,
                    ended=one.ended,
                    starts=starts,
                    now=self._organizations.clock.wall(),
                ),
            )
            for identity, one in looked.items()
        }

    def _look_up(self, identity: str) -> _LookedUp:
        tasks, epoch = self._plan.make(identity), self._store.epoch()
        latest = self._store.views.latest_results(tasks)
        found = _LookedUp(tasks)
        for task in tasks:
            key = task.base_key
            result = latest.get(key)
            if result is not None and result.may_expire_at is not None:
                there = result.existence(task.saved_events, epoch)
                found.ended |= {} if there is Existence.THERE else {key: there}
            if result is not None and not self._again and not is_to_make(result, epoch, task.saved_events):
                found.known[key] = result
            elif task.refusal is None and self._served[identity].stopped is None:
                found.open.append(task)
        return found

    def _forecast(self, tasks: Sequence[Task]) -> list[ForecastStart]:
        """When the tasks of one bucket will start; the settings of the first organization hold for it."""
        if not tasks:
            return []
        first = self._served[tasks[0].organization]
        bucket = self._store.organizations.bucket(first.identity, limit=first.limit, timeout=first.timeout)
        epoch = _api_epoch(self._organizations, self._served)
        return forecast_starts(tasks, bucket, first.limit, now=self._store.now(), epoch=epoch)


class _LookedUp:
    """The tasks of one organization: those that are known, those whose saved event may have ended, by base key; and those to be made."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.known: dict[str, Result] = {}
        self.ended: dict[str, Existence] = {}
        self.open: list[Task] = []


def is_to_make(result: Result, epoch: float, listed: ListedEvents | None = None) -> bool:
    """True if a run would make a snapshot that the store knows of: failed before, gone by now, or still to come."""
    if result.status is Status.CREATED:
        return result.existence(listed, epoch) is Existence.GONE
    return result.status is not Status.UNCERTAIN


def accept_names(plan: Plan) -> Plan:
    """The plan as it is if every test is called what the job file says: offline nobody can check it."""
    unchecked = len({task.test_id for task in plan if task.refusal is not None})
    if not unchecked:
        return plan
    tests = "the name of 1 test is" if unchecked == 1 else f"the names of {unchecked} tests are"
    note = f"{tests} not checked offline; a run checks before it sends"
    return plan.change(lambda tasks: [replace(task, refusal=None) for task in tasks], note)


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
    counts = {
        identity: sum(task.refusal is not None for task in plan.make(identity))
        for identity in plan.organizations
        if identity in in_doubt
    }
    counts = {identity: count for identity, count in counts.items() if count}
    if not counts:
        return plan
    for identity in counts:
        if served[identity].stopped is None:
            served[identity].stop(Reason.API_UNREACHABLE, "it cannot be reached")
    refused = tuple(_leave_out(served[identity], count) for identity, count in counts.items())
    kept = plan.change(
        lambda tasks: [task for task in tasks if task.refusal is None or task.organization not in in_doubt]
    )
    if next(iter(kept), None) is None:
        error = AccessRefused if any(one.reason in _REFUSED for one in refused) else ApiUnavailable
        texts = join_texts(f"{one.name}: {one.text}" for one in refused)
        raise error(f"{texts}. Nothing is planned and nothing was sent")
    return replace(kept, refused=(*plan.refused, *refused))


def _leave_out(one: ServedOrganization, count: int) -> RefusedOrganization:
    """The organization of which so many snapshots are left out."""
    snapshots = (
        "1 snapshot of a test with a test_name is"
        if count == 1
        else f"{count} snapshots of tests with a test_name are"
    )
    text = f"{snapshots} left out, since the names cannot be checked now: run the file again"
    return RefusedOrganization(name=one.name, reason=one.stopped or Reason.API_UNREACHABLE, text=text)


def _api_epoch(organizations: Organizations, served: Mapping[str, ServedOrganization]) -> float:
    """Epoch seconds by the API's calendar; the organizations of one file have the same one."""
    offsets = (one.calendar.offset for one in served.values())
    return organizations.clock.wall() + next(filter(None, offsets), 0.0)
