"""Commands for runs that did not end well, or not yet: resume, cancel, settle."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import click

from orchestrator.cli.options import (
    DURATION,
    option,
    output_options,
    pacing_options,
    shown,
    store_option,
    taken,
    zone_option,
)
from orchestrator.cli.process import Interrupted, open_queue, open_queue_to_look, typed_store
from orchestrator.cli.timezone import terminal_zone
from orchestrator.core import ExitCode, JobFile, Result, Run, RunState, Snapshot, Status, UsageError, quote
from orchestrator.store import Store

SNAPSHOT_ID = re.compile(r"[\w-]+", re.ASCII)
"""What a snapshot's id is made of, as far as one has been seen."""


@click.command("resume")
@click.argument("run", default="last", metavar="[RUN]")
@option("--failed", is_flag=True, help="Try failed snapshots again, too.")
@option(
    "--jobfile",
    "jobfiles",
    multiple=True,
    metavar="FILE",
    help="Where the organizations' settings are now; repeatable.",
)
@option("--deadline", type=DURATION, metavar="TIME", help="Stop early after this time, with exit code 5.")
@store_option
@output_options
@pacing_options
def resume_command(run: str, jobfiles: tuple[str, ...], **settings: Any) -> int:
    """Carry on with a run (default: the latest) as it was planned, with today's settings and tokens."""
    from orchestrator.app import App, RunOptions, for_run
    from orchestrator.cli.execute import run_and_show
    from orchestrator.core import SystemClock

    look, pacing, clock = shown(settings), taken(settings), SystemClock()
    with open_queue(settings["store_url"], clock) as store:
        found = store.views.find_run(run)
        if found.state is RunState.CANCELLED:
            raise UsageError(f"run {found.id} was cancelled: start its job file anew with `tesnap run`")
        jobfile = _settings(found, jobfiles)
        if settings["failed"]:
            _try_failed_again(store, found)
        app = App(for_run(pacing.applied(jobfile), found), store=store, clock=clock, environ=os.environ)
        return run_and_show(
            app, RunOptions(run_id=found.id, deadline=settings["deadline"]), look, clock
        ).exit_code


def _try_failed_again(store: Store, run: Run) -> None:
    """Queue what failed once more; UsageError when all of it was refused while planning, which a retry repeats."""
    if store.runs.retry_failed(run.id):
        return
    left = store.views.run(run.id).total
    if left.failed and not left.pending:
        files = shlex.join(run.files) or "JOBFILE"
        raise UsageError(
            f"run {run.id}: what failed was refused when it was planned (`tesnap report {run.id}` says why), so nothing was sent:"
            f" put that right, then plan anew with `tesnap run {files}`"
        )


def _settings(run: Run, given: Sequence[str]) -> JobFile:
    """The organizations and tokens that serve the run now: of the files given, of its own, or of the environment."""
    from orchestrator.jobfile import read_jobfiles, settings_without_file

    if not given and not run.files:
        return settings_without_file(run, environ=os.environ)
    return read_jobfiles(given or _files(run), environ=os.environ).jobfile


def _files(run: Run) -> Sequence[str]:
    """The job files that the run was planned from."""
    gone = [file for file in run.files if file == "-" or not os.path.exists(file)]  # noqa: PTH110 - a text, not a path, is stored
    if gone:
        raise UsageError(
            f"run {run.id}: {', '.join(gone)} cannot be read again: name the job file with --jobfile FILE"
        )
    return run.files


NOT_THERE = frozenset({"no", "n", "not-created"})

ANSWERS = NOT_THERE | {"yes", "y", "created"}
"""What may be typed at the question, or for a verdict, and is no id."""


@click.command("cancel")
@click.argument("run", metavar="RUN")
@store_option
def cancel_command(run: str, store_url: str | None) -> int:
    """Give up what a run has not sent yet; what is being sent still ends."""
    from orchestrator.core import SystemClock

    with open_queue(store_url, SystemClock()) as store:
        found = store.views.find_run(run)
        if found.state is RunState.FINISHED:
            raise UsageError(f"run {found.id} has finished: there is nothing to give up")
        store.runs.end(found.id, RunState.CANCELLED)
        pending = store.views.run(found.id).total.pending
    given_up = "1 snapshot is" if pending == 1 else f"{pending} snapshots are"
    print(f"run {found.id} is cancelled; {given_up} given up", file=sys.stderr)
    return 0


@click.command("settle")
@click.argument("run", default="last", metavar="RUN")
@click.argument("task", required=False, metavar="[TASK")
@click.argument(
    "verdict", required=False, type=click.Choice(["created", "not-created"]), metavar="created|not-created"
)
@click.argument("snapshot_id", required=False, metavar="ID]")
@store_option
@zone_option
def settle_command(
    run: str,
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
        with open_queue_to_look(store_url, clock) as store:
            found = store.views.find_run(run)
            uncertain = [r for r in store.views.results(found.id) if r.status is Status.UNCERTAIN]
        if not uncertain:
            print(f"run {found.id} has nothing uncertain", file=sys.stderr)
            return 0
        return _guided(store_url, found, uncertain, timezone)
    if verdict is None or (verdict == "created") != (snapshot_id is not None):
        raise click.UsageError("write `settle RUN TASK created ID` or `settle RUN TASK not-created`")
    if snapshot_id is not None:
        snapshot_id = _snapshot_id(snapshot_id)
    with open_queue(store_url, clock) as store:
        found = store.views.find_run(run)
        _settled(store, found, task, snapshot_id)
    return 0


def _snapshot_id(text: str) -> str:
    """The id as it was typed; a word that is an answer, or a whole link, is none: nothing takes it back."""
    if not SNAPSHOT_ID.fullmatch(text) or text.lower() in ANSWERS:
        raise click.BadParameter(
            f"{quote(text)} is not a snapshot's id, which has letters, digits, - and _ only, no spaces and no link"
        )
    return text


def _answered(text: str) -> str | None:
    """What was typed at the question: an id, None for `no`, empty to leave it; raises click's error to ask again."""
    text = text.strip()
    if text.lower() in NOT_THERE:
        return None
    return _snapshot_id(text) if text else ""


def _settled(store: Store, run: Run, key: str, snapshot_id: str | None) -> None:
    made = None if snapshot_id is None else Snapshot(id=snapshot_id)
    result = store.uncertain.settle_by_hand(run.id, key, made=made)
    if result.status is Status.CREATED:
        print(f"{result.task.short_key}: created, as {snapshot_id}", file=sys.stderr)
    elif store.views.find_run(run.id).state == "cancelled":
        print(
            f"{result.task.short_key}: noted as not made; run {run.id} is cancelled, so only a new `tesnap run` makes it",
            file=sys.stderr,
        )
    else:
        print(
            f"{result.task.short_key}: queued again; `tesnap resume {run.id}{typed_store()}` makes it",
            file=sys.stderr,
        )


def _guided(store_url: str | None, run: Run, uncertain: Sequence[Result], timezone: str | None) -> int:
    """Ask about one after another; nothing is held while somebody looks."""
    from orchestrator.core import SystemClock
    from orchestrator.output import describe_uncertain

    zone, _ = terminal_zone(timezone, os.environ)
    interactive, where = sys.stdin.isatty(), typed_store()
    for result in uncertain:
        task = result.task
        for line in describe_uncertain(result, zone):
            print(line)
        if not interactive:
            print(f"  then: tesnap settle {run.id} {task.short_key} created ID | not-created{where}\n")
            continue
        try:
            answer = click.prompt(
                "  its ID if it is there, `no` if it is not, empty to leave it",
                default="",
                show_default=False,
                value_proc=_answered,
            )
        except (click.Abort, Interrupted):
            print("\nstopped: what was answered is noted, the rest stays uncertain", file=sys.stderr)
            return ExitCode.STOPPED_EARLY
        if answer != "":
            with open_queue(store_url, SystemClock()) as store:
                _settled(store, run, task.key, answer)
    return ExitCode.DONE if interactive else ExitCode.NOT_ALL_MADE
