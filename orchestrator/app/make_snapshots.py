"""Make snapshots: prepare a run, freeze its plan under an id, and work until nothing is left of it.

In three steps, so that the command line can say in between what is about to be done and take the signals over:
`prepare`, `start_run`, `Worker.work`.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any, NamedTuple

from orchestrator.app.history import (
    absolute_files,
    describe_loss,
    describe_resumption,
    describe_unfinished,
    find_run,
    limit_conflicts,
)
from orchestrator.app.identities import describe_unknown
from orchestrator.app.make_plan import PUBLIC_NOTE, leave_out_unchecked, plan_tasks, untold_refusals
from orchestrator.app.organizations import Organizations
from orchestrator.core import (
    AccessRefused,
    ApiUnavailable,
    Clock,
    Event,
    ExitCode,
    Job,
    Observer,
    Reason,
    RefusedOrganization,
    Run,
    RunBeingPlanned,
    SelectionError,
    Task,
    choice,
)
from orchestrator.output import pause_text
from orchestrator.planning import EndedEvents, OrganizationSurvey, Plan, join_texts, survey_events
from orchestrator.store import Views
from orchestrator.worker import PoolSender, ServedOrganization, Worker, stop_on_unexpected_snapshots

RUN_ID_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""The letters of a run id: nothing that looks like something else."""

RUN_ID_LENGTH = 4

LOOK_AGAIN = 1.0
"""Seconds between two looks at a run that another process is planning: a million snapshots take it some minutes."""

TOLD_EVERY = 10.0
"""Seconds between two words on how far a plan is stored: most are in less, and nothing is said of those."""

TRIES_PER_LENGTH = 4
"""Ids that are tried before longer ones are."""


class RunOptions(NamedTuple):
    """How a run is started: under which id, with a new generation, for how long at the most (seconds).

    `strict`: nothing is sent where an organization cannot be served.
    """

    run_id: str | None = None
    again: bool = False
    strict: bool = False
    deadline: float | None = None
    seed: int | None = None


class Preparation(NamedTuple):
    """All that a run is started with: its organizations' answers, and its plan or the run that is carried on.

    `began_at` is the boot clock's time from which the deadline counts.
    """

    organizations: Organizations
    options: RunOptions
    surveys: Mapping[str, OrganizationSurvey]
    served: Mapping[str, ServedOrganization]
    basis: Plan | Run
    began_at: float


def prepare(
    organizations: Organizations, options: RunOptions, observer: Observer, *, zone: tzinfo = UTC
) -> Preparation:
    """Survey the organizations, then find the run that is carried on or plan a new one; queues nothing."""
    store, jobfile, began_at = organizations.store, organizations.jobfile, organizations.clock.boot()
    run = find_run(store.views, jobfile, options.run_id)
    surveys = organizations.survey(
        lambda pause: observer.on_event(Event(name="survey.waiting", text=pause_text(pause, zone))),
        within=options.deadline,
        reread=True,
    )
    served = organizations.serve(surveys)
    losses = describe_loss(store.views, served, organizations.clock.wall(), zone)
    _report(observer, (*losses, *survey_events(surveys), *describe_unknown(organizations, surveys)))
    _report(observer, limit_conflicts(store, served))
    if run is not None:
        _report(observer, describe_resumption(run, jobfile))
        store.runs.look_again(run.id)
    else:
        _report(observer, describe_unfinished(store.history, jobfile))
        require_answers(organizations, surveys)
    basis = run or _plan(organizations, surveys, served, observer)
    if options.strict:
        _require_all(basis, surveys)
    return Preparation(
        organizations=organizations,
        options=options,
        surveys=surveys,
        served=served,
        basis=basis,
        began_at=began_at,
    )


def _plan(
    organizations: Organizations,
    surveys: Mapping[str, OrganizationSurvey],
    served: Mapping[str, ServedOrganization],
    observer: Observer,
) -> Plan:
    """The plan of a new run; it is told whom it leaves out."""
    plan = plan_tasks(organizations, surveys, served)
    plan = leave_out_unchecked(organizations, plan, surveys, served)
    for one in untold_refusals(plan, surveys):
        fields = (("organization", one.name), ("reason", one.reason.value))
        text = f"{one.name} is refused: {one.text}"
        observer.on_event(Event(name="organization.refused", text=text, level="error", fields=fields))
    return plan


def _require_all(basis: Plan | Run, surveys: Mapping[str, OrganizationSurvey]) -> None:
    """Raise where an organization cannot be served, and the user wants all of them or nothing."""
    refused = refused_organizations(basis, surveys)
    if refused:
        error = AccessRefused if refused[0].exit_code is ExitCode.REFUSED else SelectionError
        texts = join_texts(f"{one.name}: {one.text}" for one in refused)
        raise error(f"{texts}\nso nothing was sent (--strict)")


def refused_organizations(
    basis: Plan | Run, surveys: Mapping[str, OrganizationSurvey]
) -> tuple[RefusedOrganization, ...]:
    """Those that the plan leaves out, and those that cannot be served just now, by name; tokens first."""
    known = {one.name: one for one in basis.refused}
    for name, survey in surveys.items():
        if survey.stopped is not None and survey.is_refused:
            known.setdefault(name, RefusedOrganization(name=name, reason=survey.stopped, text=survey.because))
    return tuple(sorted(known.values(), key=lambda one: (-one.exit_code, one.name)))


def start_run(preparation: Preparation, observer: Observer) -> Worker:
    """Queue the tasks of a new run; the worker that makes the snapshots of the run, or carries it on."""
    organizations, options = preparation.organizations, preparation.options
    store, clock, jobfile = organizations.store, organizations.clock, organizations.jobfile
    basis = preparation.basis
    run = basis if isinstance(basis, Run) else _queue_plan(preparation, basis, observer)
    run = replace(run, refused=refused_organizations(run, preparation.surveys))
    _report(observer, stop_on_unexpected_snapshots(store.views, run, preparation.served))
    deadline = options.deadline
    if deadline is not None:  # it counts from the start, the survey included
        deadline = max(0.0, deadline - clock.boot() + preparation.began_at)
    sender = PoolSender(
        organizations.clients.values(), organizations.client_of, clock, store.queue.mark_sending
    )
    return Worker(
        run,
        store,
        sender,
        preparation.served,
        clock,
        observer=observer,
        rules=jobfile.retry,
        seed=secrets.randbits(32) if options.seed is None else options.seed,
        deadline=deadline,
    )


def require_answers(organizations: Organizations, surveys: Mapping[str, OrganizationSurvey]) -> None:
    """Raises `ApiUnavailable` if a plan would be another one with the answers that the deadline cut off.

    Or with the API's own where nobody but strangers has answered: what they kept back would be missing for good.
    """
    jobs = [job for job in organizations.jobfile.jobs if _depends_on_lists(job)]
    surveys = {name: one for name, one in surveys.items() if one.stopped is not Reason.TOKEN_MISSING}
    late = sorted(organizations.late & {name for job in jobs for name in job.organizations})
    strangers = [survey.stopped is Reason.NOT_THE_API for survey in surveys.values()]
    if jobs and strangers and all(strangers):
        raise ApiUnavailable(
            "nobody knows which tests there are, since something else answers in the API's place: nothing was"
            " planned or sent; run the same command again"
        )
    if late:
        raise ApiUnavailable(
            f"the deadline is reached before {choice(late, last='and')} said which tests there are: nothing was"
            " planned or sent; run the same command again"
        )


def _depends_on_lists(job: Job) -> bool:
    """True if a job becomes other tasks when the lists of an organization are not known."""
    return (
        job.select is not None
        or len(job.organizations) > 1
        or job.starts_with_alert
        or any(ref.test_name for ref in job.tests)
    )


def _queue_plan(preparation: Preparation, plan: Plan, observer: Observer) -> Run:
    """Freeze the plan under a run id."""
    organizations, options = preparation.organizations, preparation.options
    for note in plan.notes:
        level = "info" if note == PUBLIC_NOTE else "warning"
        observer.on_event(Event(name="plan.note", text=note, level=level))
    run = Run(
        id=options.run_id or _free_run_id(organizations.store.views),
        job=organizations.jobfile.name,
        files=absolute_files(organizations.jobfile),
        created_at=organizations.clock.wall(),
        refused=plan.refused,
    )
    ended = EndedEvents()
    run = _start_when_free(organizations, run, plan, observer, again=options.again, on_ended=ended.add)
    _report(observer, (Event(name="plan.note", text=note, level="warning") for note in ended.notes()))
    return run


def _start_when_free(
    organizations: Organizations, run: Run, plan: Plan, observer: Observer, **how: Any
) -> Run:
    """Start the run, or carry on with it once another process that plans the same run at this moment has done so."""
    told = False
    while True:
        try:
            tasks = tell_how_far(plan, plan.asked, observer, organizations.clock)
            return organizations.store.runs.start(run, tasks, **how)
        except RunBeingPlanned as error:
            if not told:
                observer.on_event(
                    Event(
                        name="run.planned_elsewhere", text=f"{error}: it is carried on as it is planned there"
                    )
                )
            told = True
            organizations.clock.sleep(LOOK_AGAIN)


def tell_how_far(tasks: Iterable[Task], asked: int, observer: Observer, clock: Clock) -> Iterator[Task]:
    """The tasks as they come; of a plan that takes long it is told now and then how far it is."""
    told = clock.boot()
    for number, task in enumerate(tasks):
        if clock.boot() - told >= TOLD_EVERY:
            told = clock.boot()
            text = f"the plan is being stored: {number:,} of up to {asked:,} snapshots; nothing is sent before that"
            observer.on_event(Event(name="plan.storing", text=text))
        yield task


def _free_run_id(views: Views) -> str:
    """An id that no run has; the more of them are taken, the longer it is."""
    for tries in itertools.count():
        length = RUN_ID_LENGTH + tries // TRIES_PER_LENGTH
        run_id = "".join(secrets.choice(RUN_ID_LETTERS) for _ in range(length))
        if views.find_exact(run_id) is None:
            break
    return run_id


def _report(observer: Observer, events: Iterable[Event]) -> None:
    for event in events:
        observer.on_event(event)
