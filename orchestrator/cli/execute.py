"""A run or its plan as the command line sees it: a run is shown while it goes on and reported when it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.cli.options import OutputOptions
from orchestrator.cli.process import (
    Signals,
    is_typed,
    leave_last_words,
    look_into_store,
    pause_printer,
    print_lines,
    stream_document,
    yield_terminal,
)
from orchestrator.core import Ending, Event, JobFile, Run, TesnapError

if TYPE_CHECKING:
    from orchestrator.app import JobStart, Organizations, Preparation, RunOptions
    from orchestrator.output import Output, Report, View


def show_plan(
    jobfile: JobFile,
    output: OutputOptions,
    *,
    store_url: str | None,
    offline: bool = False,
    again: bool = False,
    deployed: bool = True,
) -> int:
    """Print what a run would make, and when; the exit code. `deployed`: with what a Kubernetes Job needs."""
    from orchestrator.app import Organizations, preview_run
    from orchestrator.core import SystemClock
    from orchestrator.output import plan_document, plan_lines

    clock = SystemClock()
    with (
        look_into_store(store_url, clock) as store,
        closing(
            Organizations(jobfile, store=store, clock=clock, environ=os.environ, offline=offline)
        ) as organizations,
    ):
        preview = preview_run(organizations, again=again, tell=pause_printer(output.zone, quiet=output.quiet))
        print_lines(
            stream_document(plan_document(preview))
            if output.as_json
            else plan_lines(preview, output.zone, deployed=deployed)
        )
    return preview.exit_code


def run_and_show(
    organizations: Organizations,
    options: RunOptions,
    output: OutputOptions,
    *,
    announce: Callable[[Preparation], None] = lambda _: None,
    start: JobStart | None = None,
) -> int:
    """Prepare a run, announce it, make its snapshots; the exit code. Lets the organizations' connections go.

    `start` follows it; a rehearsal has none.
    """
    rehearsal = start is None
    from orchestrator.app import prepare
    from orchestrator.output import View, last_line

    _check_reports(output.reports)  # before anything is sent
    with (
        closing(organizations),
        closing(View(_make_output(output, organizations, rehearsal=rehearsal))) as view,
    ):
        preparation = prepare(organizations, options, view, zone=output.zone)
        announce(preparation)
        ending = _make_snapshots(preparation, view, output, start)
        if not rehearsal:
            _forget_old_runs(organizations, view)
    words = last_line(ending, rehearsal=rehearsal)
    if start is not None:
        start.note_ending(ending, words)
    leave_last_words(words)
    return ending.exit_code


def _forget_old_runs(organizations: Organizations, view: View) -> None:
    """Forget what the job file says is too old, unless the command is to end."""
    if organizations.jobfile.prune_after is None:
        return
    from orchestrator.app import forget_after_run

    for event in forget_after_run(
        organizations.store, organizations.jobfile, clock=organizations.clock, stop=Signals.is_ending
    ):
        view.on_event(event)


def _check_reports(paths: Sequence[str]) -> None:
    """Raise for a report that could not be written; without one, none of what makes reports is imported."""
    if paths:
        from orchestrator.output import check_report_path

        for path in paths:
            check_report_path(path)


def _make_snapshots(
    preparation: Preparation, view: View, output: OutputOptions, start: JobStart | None
) -> Ending:
    """Start the run with signals sent to its worker; reports are written however it ends."""
    from orchestrator.app import ask_again, start_run

    ending: Ending | None = None
    organizations = preparation.organizations
    worker = start_run(preparation, view)
    if start is not None:
        start.begin(worker.run)
    if preparation.options.deadline is not None:
        Signals.ends_at = preparation.began_at + preparation.options.deadline
    with Signals.send_to(worker.ask_to_stop), yield_terminal(view.step_aside):
        try:
            with ask_again(organizations, worker.stop_organization, view):
                ending = worker.work()
        finally:
            _report_run(organizations, worker.run, ending, output, view)
    return ending


def _make_output(output: OutputOptions, organizations: Organizations, *, rehearsal: bool) -> Output:
    from orchestrator.output import Format, Output, find_trace_id

    return Output(
        stdout=sys.stdout,
        stderr=sys.stderr,
        clock=organizations.clock,
        zone=output.zone,
        format=None if output.format is None else Format(output.format),
        quiet=output.quiet,
        verbose=output.verbose,
        log_format=output.log_format,
        no_color=bool(os.environ.get("NO_COLOR")),
        show_links=output.links == "show",
        name_of=organizations.name_of,
        store=organizations.store.describe() if is_typed("store_url") else "",
        rehearsal=rehearsal,
        trace_id=find_trace_id(os.environ),
    )


def _report_run(
    organizations: Organizations, run: Run, ending: Ending | None, output: OutputOptions, view: View
) -> None:
    """Write the reports and tell the webhooks; a failure of these is a warning, never the run's."""
    if not (output.reports or organizations.jobfile.notify):
        return
    from orchestrator.cli.report import load_report

    try:
        report = load_report(
            organizations.store,
            run,
            zone=output.zone,
            show_links=output.links == "show",
            ending=ending,
        )
        for event in (*_write_reports(output.reports, report), *_notify(organizations, report)):
            view.on_event(event)
    except (TesnapError, OSError) as error:
        view.on_event(_report_failed(error))


def _write_reports(paths: Sequence[str], report: Report) -> Iterator[Event]:
    """Write each, whatever becomes of the others."""
    if not paths:
        return
    from orchestrator.output import write_report

    for path in paths:
        try:
            write_report(path, report)
        except (TesnapError, OSError) as error:
            yield _report_failed(error)
        else:
            yield Event(name="report.written", text=f"report written: {path}", level="debug")


def _report_failed(error: Exception) -> Event:
    return Event(name="report.failed", text=f"the report could not be made: {error}", level="warning")


def _notify(organizations: Organizations, report: Report) -> list[Event]:
    jobfile, clock = organizations.jobfile, organizations.clock
    if not jobfile.notify:
        return []
    from orchestrator.api import post_message
    from orchestrator.app import USER_AGENT
    from orchestrator.output import notify_all

    post = partial(post_message, clock=clock, http=jobfile.http, environ=os.environ, user_agent=USER_AGENT)
    return notify_all(jobfile.notify, report, post=post, clock=clock)
