"""Commands for runs that did not end well, or not yet: resume, cancel, settle."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from orchestrator.cli.execute import run_and_show
from orchestrator.cli.follow import WatchOptions, follow, remembered, watch_options
from orchestrator.cli.options import (
    OutputOptions,
    Pacing,
    duration,
    option,
    output_options,
    pacing_options,
    store_option,
    zone_option,
)
from orchestrator.cli.process import (
    Interrupted,
    look_into_store,
    print_lines,
    typed_store,
    use_store,
)
from orchestrator.cli.timezone import terminal_zone
from orchestrator.cli.which_run import find_run
from orchestrator.core import ExitCode, JobFile, Result, Run, RunState, Snapshot, Status, UsageError, quote

if TYPE_CHECKING:
    from orchestrator.store import RunSummary, Store

SNAPSHOT_ID = re.compile(r"[\w-]+", re.ASCII)
"""The characters of a snapshot's id, as far as one has been seen."""

NOT_THERE = frozenset({"no", "n", "not-created"})

ANSWERS = NOT_THERE | {"yes", "y", "created"}
"""The words that may be typed at the question, or for a verdict, and are no id."""


@click.command("resume")
@click.argument("run", required=False, metavar="[RUN]")
@option("--failed", is_flag=True, envvar=None, help="Try failed snapshots again, too.")
@option(
    "--jobfile",
    "jobfiles",
    multiple=True,
    metavar="FILE",
    help="Where the organizations' settings are now; repeatable.",
)
@option("--deadline", type=duration, metavar="TIME", help="Stop early after this time, with exit code 5.")
@watch_options
@store_option
@output_options
@pacing_options
def resume_command(
    run: str | None,
    *,
    failed: bool,
    jobfiles: tuple[str, ...],
    deadline: float | None,
    store_url: str | None,
    watching: WatchOptions,
    output: OutputOptions,
    pacing: Pacing,
) -> int:
    """Carry on with a run (default: your latest) as it was planned, with today's settings and tokens."""
    from orchestrator.app import Organizations, RunOptions
    from orchestrator.core import SystemClock

    clock = SystemClock()
    with use_store(store_url, clock, must_exist=True) as store:
        found = find_run(store, run)
        if found.state is RunState.CANCELLED:
            raise UsageError(f"run {found.id} was cancelled: start its job file again with `tesnap run`")
        jobfile = replace(pacing.apply(_read_settings(found, jobfiles)), name=found.job)
        before = store.starts.last_of([found.id]).get(found.id)
        if before is not None:
            notify = () if before.part else jobfile.notify
            jobfile = replace(jobfile, part=before.part, title=before.title, notify=notify)
        with (
            follow(jobfile, output, command="resume", watching=watching) as start,
            remembered(start, store),
        ):
            if failed:
                queue_failed_again(store, found)
            organizations = Organizations(jobfile, store=store, clock=clock, environ=os.environ)
            options = RunOptions(run_id=found.id, deadline=deadline)
            return run_and_show(organizations, options, output, start=start)


def queue_failed_again(store: Store, run: Run) -> None:
    """Queue what failed once more; UsageError when all of it was refused while planning, which a retry repeats."""
    if store.runs.retry_failed(run.id):
        return
    left = store.views.run(run.id).total
    if left.failed and not left.pending:
        files = shlex.join(run.files) or "JOBFILE"
        raise UsageError(
            f"run {run.id}: what failed was refused when it was planned (`tesnap report {run.id}` says why), so nothing was sent:"
            f" correct that, then plan again with `tesnap run {files}`"
        )


def _read_settings(run: Run, jobfiles: Sequence[str]) -> JobFile:
    """The organizations and tokens that serve the run now: of these files, of its own, or of the environment."""
    from orchestrator.jobfile import read_jobfiles, settings_without_file

    if not jobfiles and not run.files:
        return settings_without_file(run, environ=os.environ)
    return read_jobfiles(jobfiles or _files_of(run), environ=os.environ).jobfile


def _files_of(run: Run) -> Sequence[str]:
    """The job files that the run was planned from; UsageError when one is gone."""
    gone = [file for file in run.files if file == "-" or not os.path.exists(file)]  # noqa: PTH110 - a text, not a path, is stored
    if gone:
        raise UsageError(
            f"run {run.id}: {', '.join(gone)} cannot be read again: name the job file with --jobfile FILE"
        )
    return run.files


@click.command("cancel")
@click.argument("run", required=False, metavar="[RUN]")
@click.option(
    "--unfinished", is_flag=True, help="All runs that nobody works on and that have something pending."
)
@option(
    "--older-than", type=duration, metavar="TIME", help="With --unfinished: only those started so long ago."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
def cancel_command(
    run: str | None, *, unfinished: bool, older_than: float | None, yes: bool, store_url: str | None
) -> None:
    """Give up what a run has not sent yet; what is being sent still finishes."""
    from orchestrator.core import SystemClock, plural

    if (run is None) != unfinished:
        raise click.UsageError("name a run, or write --unfinished for all that nobody works on")
    with use_store(store_url, SystemClock(), must_exist=True) as store:
        if run is not None:
            found = find_run(store, run)
            if found.state is RunState.FINISHED:
                raise UsageError(f"run {found.id} has finished: there is nothing to give up")
            _cancel(store, found.id)
            return
        meant = list(_find_unfinished(store, older_than))
        for view in meant:
            print(f"run {view.run.id} of {view.run.job}: {view.total.pending} pending", file=sys.stderr)
        if not meant:
            since = "" if older_than is None else " and was started so long ago"
            print(f"no run is unfinished{since}", file=sys.stderr)
        elif yes or _is_agreed(f"give up {plural(len(meant), 'run')}?"):
            for view in meant:
                _cancel(store, view.run.id)


def _find_unfinished(store: Store, older_than: float | None) -> Iterator[RunSummary]:
    """The runs with something pending that nobody works on, and that are old enough."""
    latest = store.epoch() - (older_than or 0.0)
    for view in store.history.runs():
        is_open = view.run.state is RunState.ACTIVE and view.total.pending and not view.processes
        if is_open and view.run.created_at <= latest:
            yield view


def _is_agreed(question: str) -> bool:
    """True if the user agrees; UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError("nothing was given up: nobody can be asked here, so add --yes")
    return click.confirm(question, err=True)


def _cancel(store: Store, run_id: str) -> None:
    store.runs.end(run_id, RunState.CANCELLED)
    pending = store.views.run(run_id).total.pending
    given_up = "1 snapshot is" if pending == 1 else f"{pending} snapshots are"
    print(f"run {run_id} is cancelled; {given_up} given up", file=sys.stderr)


@click.command("settle")
@click.argument("run", required=False, metavar="[RUN")
@click.argument("task", required=False, metavar="[TASK")
@click.argument(
    "verdict", required=False, type=click.Choice(["created", "not-created"]), metavar="created|not-created"
)
@click.argument("snapshot_id", required=False, metavar="ID]")
@store_option
@zone_option
def settle_command(
    run: str | None,
    task: str | None,
    verdict: str | None,
    snapshot_id: str | None,
    *,
    store_url: str | None,
    timezone: str | None,
) -> int:
    """Settle a run's uncertain snapshots: one by one with what to look for, or for scripts `RUN TASK created ID`.

    `created ID` notes the snapshot as made, `not-created` queues it again for `tesnap resume`.
    """
    from orchestrator.core import SystemClock

    clock = SystemClock()
    if task is None:
        with look_into_store(store_url, clock) as store:
            found = find_run(store, run)
            uncertain = [r for r in store.views.results(found.id) if r.status is Status.UNCERTAIN]
        if not uncertain:
            print(f"run {found.id} has nothing uncertain", file=sys.stderr)
            return ExitCode.DONE
        return _ask_about(uncertain, found, store_url, timezone)
    if verdict is None or (verdict == "created") != (snapshot_id is not None):
        raise click.UsageError("write `settle RUN TASK created ID` or `settle RUN TASK not-created`")
    if snapshot_id is not None:
        check_snapshot_id(snapshot_id)
    with use_store(store_url, clock, must_exist=True) as store:
        found = find_run(store, run)
        _settle(store, found, task, snapshot_id)
    return ExitCode.DONE


def check_snapshot_id(text: str) -> None:
    """Raises click's error for a word that is an answer, or a whole link: nothing would take that back."""
    if not SNAPSHOT_ID.fullmatch(text) or text.lower() in ANSWERS:
        raise click.BadParameter(
            f"{quote(text)} is not a snapshot's id, which has letters, digits, - and _ only, no spaces and no link"
        )


def parse_answer(text: str) -> str | None:
    """The answer to the question: an id, None for `no`, empty to leave it; raises click's error to ask again."""
    text = text.strip()
    if text.lower() in NOT_THERE:
        return None
    if text:
        check_snapshot_id(text)
    return text


def _settle(store: Store, run: Run, key: str, snapshot_id: str | None) -> None:
    made = None if snapshot_id is None else Snapshot(id=snapshot_id)
    result = store.uncertain.settle_by_hand(run.id, key, made=made)
    if result.status is Status.CREATED:
        text = f"created, as {snapshot_id}"
    elif store.views.find_run(run.id).state is RunState.CANCELLED:
        text = f"noted as not made; run {run.id} is cancelled, so only a new `tesnap run` makes it"
    else:
        text = f"queued again; `tesnap resume {run.id}{typed_store()}` makes it"
    print(f"{result.task.short_key}: {text}", file=sys.stderr)


def _ask_about(uncertain: Sequence[Result], run: Run, store_url: str | None, timezone: str | None) -> int:
    """Ask about one after another; nothing is held while somebody looks."""
    from orchestrator.core import SystemClock
    from orchestrator.output import describe_uncertain

    zone, _ = terminal_zone(timezone, os.environ)
    interactive, where = sys.stdin.isatty(), typed_store()
    for result in uncertain:
        task = result.task
        print_lines(describe_uncertain(result, zone))
        if not interactive:
            print(f"  then: tesnap settle {run.id} {task.short_key} created ID | not-created{where}\n")
            continue
        try:
            answer = click.prompt(
                "  its ID if it is there, `no` if it is not, empty to leave it",
                default="",
                show_default=False,
                value_proc=parse_answer,
            )
        except (click.Abort, Interrupted):
            print("\nstopped: what was answered is noted, the rest stays uncertain", file=sys.stderr)
            return ExitCode.STOPPED_EARLY
        if answer != "":
            with use_store(store_url, SystemClock(), must_exist=True) as store:
                _settle(store, run, task.key, answer)
    return ExitCode.DONE if interactive else ExitCode.NOT_ALL_MADE
