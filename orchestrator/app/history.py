"""The runs that a store holds already: found by id, and told of when another one starts or one is carried on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from pathlib import Path

from orchestrator.core import Event, JobFile, Run, RunState, UsageError
from orchestrator.output import loss_text
from orchestrator.ratelimit import longest_hold
from orchestrator.store import History, Store, Views
from orchestrator.worker import ServedOrganization


def find_run(views: Views, jobfile: JobFile, run_id: str | None) -> Run | None:
    """The run of this job file that is to be carried on; None when there is none under this id.

    Raises `UsageError` when it is another job's.
    """
    if run_id is None:
        return None
    run = views.find_exact(run_id)
    if run is not None and run.job != jobfile.name:
        raise UsageError(
            f"run {run_id} belongs to the job {run.job!r}, not to {jobfile.name!r}: choose another run id"
        )
    return run


def absolute_files(jobfile: JobFile) -> tuple[str, ...]:
    """The files that a run is planned from, by which it is known again wherever it is started."""
    return tuple(file if file == "-" else str(Path(file).absolute()) for file in jobfile.files)


def describe_unfinished(history: History, jobfile: JobFile) -> Iterator[Event]:
    """Earlier runs of the same job that nobody works on and that have something left to make, in one sentence."""
    left = [
        (run, pending)
        for run, pending in history.unfinished(jobfile.name)
        if jobfile.named or not _is_of_other_files(run, jobfile)
    ]
    if not left:
        return
    last, pending = left[0]
    text = (
        f"an earlier run of {last.job}, {last.id}, is unfinished with {pending} pending: `tesnap resume {last.id}`"
        f" carries on with it, `tesnap cancel {last.id}` gives it up"
    )
    if len(left) > 1:
        text = (
            f"{len(left)} earlier runs of {last.job} are unfinished, the latest, {last.id}, with {pending} pending:"
            f" `tesnap resume {last.id}` carries on with it, `tesnap cancel --unfinished` gives up all of them"
        )
    yield Event(name="run.unfinished", text=text, level="warning")


def describe_resumption(run: Run, jobfile: JobFile) -> Iterator[Event]:
    """A run that is carried on, also where it was planned from files of other places, perhaps of another machine."""
    if _is_of_other_files(run, jobfile):
        text = (
            f"run {run.id} was planned from {shlex.join(run.files)}, not from {shlex.join(absolute_files(jobfile))}:"
            " it is carried on as it was planned then; for another run choose another run id"
        )
        yield Event(name="run.other_files", text=text, level="warning")
    if run.state is RunState.FINISHED:
        text = f"run {run.id} has finished: its records are printed again, nothing is sent"
        yield Event(name="run.finished_before", text=text, level="warning")
    else:
        yield Event(name="run.carried_on", text=f"carrying on with run {run.id} as it was planned")


def describe_loss(
    views: Views, served: Mapping[str, ServedOrganization], now: float, zone: tzinfo
) -> Iterator[Event]:
    """A store that was lost, as long as no run has ended cleanly since."""
    loss = views.loss()
    if loss is not None and not loss.ended:
        holds = (longest_hold(one.limit, one.timeout) for one in served.values())
        until = loss.at + max(holds, default=0.0)
        yield Event(name="store.lost", text=loss_text(loss, now, zone, until=until), level="warning")


def limit_conflicts(store: Store, served: Mapping[str, ServedOrganization]) -> Iterator[Event]:
    """Live runs that pace an organization otherwise: the settings of the run that asks hold, for each grant."""
    names = [
        served[identity].name
        for identity, limit in store.history.limits_in_use().items()
        if identity in served and served[identity].limit != limit
    ]
    if names:
        text = f"{', '.join(sorted(names))}: another run in progress has different limit settings; make them the same"
        yield Event(name="limit.differs", text=text, level="warning")


def _is_of_other_files(run: Run, jobfile: JobFile) -> bool:
    """True if a run was planned from other files, as far as the store knows."""
    return bool(run.files) and run.files != absolute_files(jobfile)
