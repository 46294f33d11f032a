"""The composition root: puts the parts together for one start of the program.

The only module that knows every class; what each of them does is said where it stands.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo

from orchestrator import __version__
from orchestrator.api import Client, OnPause, ReadBearer, read_bearer, read_bearers
from orchestrator.app import history
from orchestrator.app.make_plan import PUBLIC_NOTE, left_out, still_to_make
from orchestrator.app.organizations import SURVEYS_AT_ONCE
from orchestrator.core import (
    ApiUnavailable,
    Clock,
    Ending,
    Event,
    GrantStale,
    JobFile,
    Observer,
    Organization,
    Run,
    Task,
    UsageError,
    choice,
    identity,
)
from orchestrator.output import pause_text
from orchestrator.planning import (
    OrganizationSurvey,
    Plan,
    Preview,
    make_plan,
    make_preview,
    survey_events,
    survey_organization,
)
from orchestrator.ratelimit import ForecastStart, forecast_starts
from orchestrator.store import Store
from orchestrator.worker import (
    ApiCalendar,
    PoolSender,
    ServedOrganization,
    Worker,
    stop_on_unexpected_snapshots,
)


def for_run(jobfile: JobFile, run: Run) -> JobFile:
    """The job file as the settings of a run that was planned before: only organizations and pacing count."""
    return replace(jobfile, name=run.job)


RUN_ID_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""What a run id is made of: nothing that looks like something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is started: under which id, with a new generation, for how long at the most (seconds)."""

    run_id: str | None = None
    again: bool = False
    deadline: float | None = None
    seed: int | None = None


Planned = Callable[[Plan, Mapping[str, OrganizationSurvey], Mapping[str, ServedOrganization]], None]
"""Who is told of a plan: what was found out and who is served besides."""


class App:
    """One job file against one store: survey, plan, run."""

    def __init__(
        self,
        jobfile: JobFile,
        *,
        store: Store,
        clock: Clock,
        environ: Mapping[str, str],
        read: ReadBearer | None = None,
        offline: bool = False,
    ) -> None:
        self.jobfile, self.store, self.clock = jobfile, store, clock
        self.secrets: set[str] = set()
        self._shown: dict[str, str] = {}
        self._identities: dict[str, str] = {}
        self._refused: set[str] = set()
        self._late: set[str] = set()
        read = read or (lambda organization: read_bearer(organization.credential, environ=environ))
        self.bearers = (
            {} if offline else read_bearers(jobfile, jobfile.wanted_organizations, read, self.secrets)
        )
        self.clients = {name: self._client(name, environ) for name in self.bearers}

    def _client(self, name: str, environ: Mapping[str, str]) -> Client:
        return Client(
            self.jobfile.organizations[name].base_url,
            self.bearers[name],
            clock=self.clock,
            http=self.jobfile.http,
            user_agent=f"tesnap/{__version__}",
            environ=environ,
        )

    def name_of(self, identity: str) -> str:
        """The user's name of an organization; also under an identity that another process has learnt since."""
        if identity not in self._shown:
            self._shown[identity] = self.store.organizations.names().get(identity, identity)
        return self._shown[identity]

    def close(self) -> None:
        """Let the connections go."""
        for client in self.clients.values():
            client.close()

    # -- what is there ---------------------------------------------------------------------------------
    def survey(
        self, tell: OnPause | None = None, *, within: float | None = None
    ) -> dict[str, OrganizationSurvey]:
        """Ask each organization who it is and which tests it has, several side by side; `tell` hears of waits.

        Whoever has not answered `within` so many seconds is out of reach, and is sent nothing more.
        """
        groups = self.jobfile.account_groups
        pool = ThreadPoolExecutor(SURVEYS_AT_ONCE, thread_name_prefix="survey")
        try:
            asked = {
                name: pool.submit(self._found_out, name, groups[name], tell) for name in sorted(self.clients)
            }
            late = wait(asked.values(), None if within is None else self.clock.real(within)).not_done
            if late:
                self.close()
            self._late = {name for name, answer in asked.items() if answer in late}
            return {name: answer.result() for name, answer in asked.items()}
        except BaseException:  # a signal: nobody waits for the answers any more
            self.close()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _found_out(self, name: str, groups: Sequence[str], tell: OnPause | None) -> OrganizationSurvey:
        organization = self.jobfile.organizations[name]
        jobs = [job for job in self.jobfile.jobs if name in job.organizations]
        return survey_organization(
            self.clients[name],
            organization,
            groups,
            jobs=jobs,
            clock=self.clock,
            tell=tell,
            stopped=lambda: self.clients[name].closed,
        )

    def require_answers(self) -> None:
        """Raises `ApiUnavailable` if a plan would be another one with the answers that the deadline cut off."""
        meant = [
            job
            for job in self.jobfile.jobs
            if job.select is not None
            or len(job.organizations) > 1
            or job.starts_with_alert
            or any(ref.test_name for ref in job.tests)
        ]
        late = sorted(self._late & {name for job in meant for name in job.organizations})
        if late:
            raise ApiUnavailable(
                f"the deadline is reached before {choice(late, last='and')} said which tests there are: nothing is"
                " planned and nothing was sent; the same command begins anew"
            )

    def lanes(
        self, surveys: Mapping[str, OrganizationSurvey], *, only_look: bool = False
    ) -> dict[str, ServedOrganization]:
        """What the worker needs to know of each organization, by its identity; `only_look` writes nothing."""
        lanes: dict[str, ServedOrganization] = {}
        for name, survey in surveys.items():
            lane = self._lane(name, survey, only_look=only_look)
            known = lanes.setdefault(lane.identity, lane)
            if known is not lane:
                known.merge(lane)
            self._identities[name] = lane.identity
            shown = known.name
            self._shown |= {lane.identity: shown, shown: shown}
        return lanes

    def _lane(self, name: str, survey: OrganizationSurvey, *, only_look: bool) -> ServedOrganization:
        organization = self.jobfile.organizations[name]
        # With a stranger's token it is the file's, if that says one.
        org_id = (survey.stopped and organization.org_id) or survey.org_id
        lane = ServedOrganization(
            identity=self._identity(organization, org_id, only_look=only_look),
            name=name,
            limit=organization.limit,
            timeout=self.jobfile.http.timeout,
            reload=self.bearers[name].reload if name in self.bearers else lambda: False,
            calendar=ApiCalendar(offset=survey.offset),
        )
        if survey.stopped is not None:
            lane.stop(survey.stopped, survey.because)
            self._refused.add(name)
        return lane

    def client_of(self, task: Task) -> Client:
        """Whose credential serves a task: of several names for one organization its own, or the one with its account group.

        Raises `GrantStale` when none does: another organization's must never be tried.
        """
        mine = self._named(task.organization)
        if not mine:  # another process has learnt since who this organization is
            for name, before in self._identities.items():
                self._identities[name] = self.store.organizations.present_identity(before)
            mine = self._named(task.organization)
        if not mine:
            raise GrantStale
        job = next((job for job in self.jobfile.jobs if job.name == task.job_name), None)
        meant = [name for name in mine if job is None or name in job.organizations] or mine
        usable = [name for name in meant if name not in self._refused] or meant
        groups = {name: self.jobfile.organizations[name].account_group or "" for name in usable}
        return self.clients[
            min(usable, key=lambda one: (one != task.organization_name, groups[one] != task.account_group))
        ]

    def _named(self, identity: str) -> list[str]:
        return [name for name in self.clients if self._identities.get(name) == identity]

    def _identity(self, organization: Organization, org_id: str | None, *, only_look: bool) -> str:
        if not only_look:
            return self.store.organizations.join(organization.base_url, organization.name, org_id)
        name = organization.name if org_id is None else None
        return self.store.organizations.present_identity(
            identity(organization.base_url, org_id=org_id, name=name)
        )

    # -- planning --------------------------------------------------------------------------------------
    def plan(
        self, surveys: Mapping[str, OrganizationSurvey], lanes: Mapping[str, ServedOrganization]
    ) -> Plan:
        """The tasks of a run, for the organizations that were surveyed."""
        plan = make_plan(self.jobfile, surveys, self._identities, now=self._epoch(lanes))
        if any(task.expect_saved_event is None for task in plan.tasks):
            plan = replace(plan, notes=(*plan.notes, PUBLIC_NOTE))
        return plan

    def in_doubt(self, surveys: Mapping[str, OrganizationSurvey]) -> set[str]:
        """The organizations, by identity, that could not be asked properly."""
        return {self._identities[name] for name, found in surveys.items() if found.in_doubt}

    def foresee(self, plan: Plan, lanes: Mapping[str, ServedOrganization], *, again: bool = False) -> Preview:
        """What a run of this plan would find made already, and when it would make the rest: all, when `again`."""
        latest = {} if again else self.store.views.latest_results(plan.tasks)
        known = {key: one for key, one in latest.items() if not still_to_make(one, self.store.epoch())}
        open_tasks: dict[str, list[Task]] = defaultdict(list)
        for task in plan.tasks:
            stopped = lanes[task.organization].stopped is not None
            if task.base_key not in known and task.refusal is None and not stopped:
                open_tasks[task.organization].append(task)
        starts: list[ForecastStart] = []
        for known_as, tasks in open_tasks.items():
            bucket, limit = self.store.organizations.bucket(known_as), lanes[known_as].limit
            starts += forecast_starts(tasks, bucket, limit, now=self.store.now(), epoch=self._epoch(lanes))
        shown = {lane.identity: (lane.name, lane.limit) for lane in lanes.values()}
        return make_preview(
            self.jobfile,
            plan.tasks,
            shown=shown,
            known=known,
            starts=starts,
            notes=plan.notes,
            now=self.clock.wall(),
            refused=any(lane.stopped is not None for lane in lanes.values()),
        )

    def _epoch(self, lanes: Mapping[str, ServedOrganization]) -> float:
        """The API's calendar; the organizations of one file have the same one."""
        return self.clock.wall() + next(
            (lane.calendar.offset for lane in lanes.values() if lane.calendar.offset), 0.0
        )

    # -- running ---------------------------------------------------------------------------------------
    def find_run(self, run_id: str | None) -> Run | None:
        """The run that is to be carried on, if there is one under this id."""
        if run_id is None:
            return None
        run = next((view.run for view in self.store.views.runs() if view.run.id == run_id), None)
        if run is not None and run.job != self.jobfile.name:
            raise UsageError(
                f"run {run_id} belongs to the job {run.job!r}, not to {self.jobfile.name!r}: choose another run id"
            )
        return run

    def begin(self, plan: Plan, options: RunOptions) -> Run:
        """Freeze the plan under a run id."""
        run = Run(
            id=options.run_id or self._free_run_id(),
            job=self.jobfile.name,
            files=history.places(self.jobfile),
            created_at=self.clock.wall(),
            tasks=len(plan.tasks),
        )
        return self.store.runs.start(run, plan.tasks, again=options.again)

    def _free_run_id(self) -> str:
        taken = {view.run.id for view in self.store.views.runs()}
        while (run_id := "".join(secrets.choice(RUN_ID_LETTERS) for _ in range(4))) in taken:
            pass
        return run_id

    @contextmanager
    def worker(
        self, run: Run, lanes: Mapping[str, ServedOrganization], observer: Observer, options: RunOptions
    ) -> Iterator[Worker]:
        """A worker for the run, sending over HTTP."""
        sender = PoolSender(self.clients.values(), self.client_of, self.clock, self.store.queue.mark_sending)
        seed = secrets.randbits(32) if options.seed is None else options.seed
        try:
            yield Worker(
                run,
                self.store,
                sender,
                lanes,
                self.clock,
                observer=observer,
                rules=self.jobfile.retry,
                seed=seed,
                deadline=options.deadline,
            )
        finally:
            sender.close()


def run(
    app: App,
    observer: Observer,
    options: RunOptions,
    *,
    planned: Planned = lambda *_: None,
    caught: Callable[[Worker], None] = lambda _: None,
    zone: tzinfo = UTC,
) -> Ending:
    """Survey, plan, queue and make the snapshots.

    `planned` is told of a new plan before anything is queued, `caught` is given the worker before it starts.
    """
    started = app.clock.boot()
    carried_on = app.find_run(options.run_id)
    surveys = app.survey(
        lambda one: observer.on_event(Event(name="survey.waiting", text=pause_text(one, zone))),
        within=options.deadline,
    )
    lanes = app.lanes(surveys)
    for event in (*survey_events(surveys), *history.limit_conflicts(app.store, lanes)):
        observer.on_event(event)
    if carried_on is not None:
        for event in history.taken_up(carried_on, app.jobfile):
            observer.on_event(event)
        app.store.runs.look_again(carried_on.id)
    else:
        for event in history.unfinished(app.store, app.jobfile):
            observer.on_event(event)
        app.require_answers()
        plan = app.plan(surveys, lanes)
        planned(plan, surveys, lanes)
        plan = left_out(plan, lanes, app.in_doubt(surveys))
        for note in plan.notes:
            level = "info" if note == PUBLIC_NOTE else "warning"
            observer.on_event(Event(name="plan.note", text=note, level=level))
        carried_on = app.begin(plan, options)
    if any(job.expect_saved_event is not None for job in app.jobfile.jobs):
        for event in stop_on_unexpected_snapshots(app.store, carried_on, lanes):
            observer.on_event(event)
    if options.deadline is not None:  # it counts from the start, the survey included
        options = replace(options, deadline=max(0.0, options.deadline - app.clock.boot() + started))
    with app.worker(carried_on, lanes, observer, options) as worker:
        caught(worker)
        return worker.work()
