"""What is told of the runs that a store holds already when another one starts, or one of them is carried on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.core import Event, JobFile, Run, RunState
from orchestrator.store import Store
from orchestrator.worker import ServedOrganization


def places(jobfile: JobFile) -> tuple[str, ...]:
    """The files that a run is planned from, by which it is known again wherever it is started."""
    return tuple(file if file == "-" else str(Path(file).absolute()) for file in jobfile.files)


def unfinished(store: Store, jobfile: JobFile) -> Iterator[Event]:
    """Earlier runs of the same job that nobody works on and that have something left to make."""
    for view in store.views.runs():
        run, left = view.run, view.total.pending
        mine = run.job == jobfile.name and (jobfile.named or not _elsewhere(run, jobfile))
        if mine and run.state is RunState.ACTIVE and left and not view.processes:
            commands = f"`tesnap resume {run.id}` carries on with it, `tesnap cancel {run.id}` gives it up"
            text = f"an earlier run of {run.job}, {run.id}, is unfinished with {left} pending: {commands}"
            yield Event(name="run.unfinished", text=text, level="warning")


def taken_up(run: Run, jobfile: JobFile) -> Iterator[Event]:
    """That a run is carried on, also where it was planned from files of other places, perhaps of another machine."""
    if _elsewhere(run, jobfile):
        text = (
            f"run {run.id} was planned from {shlex.join(run.files)}, not from {shlex.join(places(jobfile))}:"
            " it is carried on as it was planned then; for another run choose another run id"
        )
        yield Event(name="run.other_files", text=text, level="warning")
    if run.state is RunState.FINISHED:
        text = f"run {run.id} has finished: its records again, nothing is sent"
        yield Event(name="run.finished_before", text=text, level="warning")
    else:
        yield Event(name="run.carried_on", text=f"carrying on with run {run.id} as it was planned")


def limit_conflicts(store: Store, lanes: Mapping[str, ServedOrganization]) -> Iterator[Event]:
    """Live runs that pace an organization otherwise: the settings of whoever asks hold, for each grant."""
    live = {known_as for view in store.views.runs() if view.processes for known_as in view.counts}
    theirs = {i: store.organizations.bucket(i).last_limit for i in live & lanes.keys()}
    names = [lanes[i].name for i, limit in theirs.items() if limit not in (None, lanes[i].limit)]
    if names:
        text = f"{', '.join(sorted(names))}: another run at work has other limit settings; make them the same"
        yield Event(name="limit.differs", text=text, level="warning")


def _elsewhere(run: Run, jobfile: JobFile) -> bool:
    """Whether a run was planned from other files, as far as the store knows."""
    return bool(run.files) and run.files != places(jobfile)
