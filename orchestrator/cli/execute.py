"""One run as the command line sees it: shown while it goes on, reported and told to others when it ends."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from orchestrator import __version__
from orchestrator.cli.options import Shown
from orchestrator.cli.process import Signals, leave_last_words
from orchestrator.cli.timezone import terminal_zone
from orchestrator.core import Ending, Event, TesnapError

if TYPE_CHECKING:
    from orchestrator.app import App, Planned, RunOptions
    from orchestrator.core import Clock, Run
    from orchestrator.output import Output, Report, View
    from orchestrator.worker import Worker


def run_and_show(
    app: App,
    begin: RunOptions,
    look: Shown,
    clock: Clock,
    *,
    planned: Planned = lambda *_: None,
    rehearsal: bool = False,
) -> Ending:
    """Run, with signals sent to the worker; its reports are written however it ends."""
    from orchestrator.app import run
    from orchestrator.output import View, last_line

    check_reports(look)
    runs: list[Run] = []
    ending: Ending | None = None
    with ExitStack() as stack:
        stack.callback(app.close)
        view = View(_output(look, app, clock, rehearsal=rehearsal))
        stack.callback(view.close)

        def caught(worker: Worker) -> None:
            runs.append(worker.run)
            stack.enter_context(Signals.taken_over(worker.ask_to_stop))

        try:
            zone = terminal_zone(look.timezone, os.environ)[0]
            ending = run(app, view, begin, planned=planned, caught=caught, zone=zone)
        finally:
            for one in runs:
                _afterwards(app, one, ending, look, view)
    leave_last_words(last_line(ending, rehearsal=rehearsal))
    return ending


def check_reports(look: Shown) -> None:
    """Find out before anything is sent that a report cannot be written; raises `UsageError`."""
    if look.reports:
        from orchestrator.output import check_report_path

        for path in look.reports:
            check_report_path(path)


def _output(look: Shown, app: App, clock: Clock, *, rehearsal: bool) -> Output:
    from orchestrator.output import Format, Output

    return Output(
        stdout=sys.stdout,
        stderr=sys.stderr,
        clock=clock,
        zone=terminal_zone(look.timezone, os.environ)[0],
        format=None if look.format is None else Format(look.format),
        as_json=look.as_json,
        quiet=look.quiet,
        verbose=look.verbose,
        log_format=look.log_format,
        no_color=bool(os.environ.get("NO_COLOR")),
        show_links=look.links == "show",
        name_of=app.name_of,
        secrets=app.secrets,
        store=app.store.describe() if _typed("store_url") else "",
        rehearsal=rehearsal,
    )


def _typed(name: str) -> bool:
    """Whether an option was written on the command line: then the next command needs it, too."""
    context = click.get_current_context()
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _afterwards(app: App, run: Run, ending: Ending | None, look: Shown, view: View) -> None:
    """Write the reports and tell whoever wants to know; a failure of these is a warning, never the run's."""
    if not (look.reports or app.jobfile.notify):
        return
    from orchestrator.cli.report import reported
    from orchestrator.output import write_report

    try:
        report = reported(
            app.store,
            run.id,
            zone=terminal_zone(look.timezone, os.environ)[0],
            show_links=look.links == "show",
            ending=ending,
            secrets=app.secrets,
        )
        for path in look.reports:
            write_report(path, report)
            view.on_event(Event(name="report.written", text=f"report written: {path}", level="debug"))
        for event in _told(app, report):
            view.on_event(event)
    except (TesnapError, OSError) as error:
        view.on_event(
            Event(name="report.failed", text=f"the report could not be made: {error}", level="warning")
        )


def _told(app: App, report: Report) -> list[Event]:
    if not app.jobfile.notify:
        return []
    from orchestrator.api import HttpPoster
    from orchestrator.output import notify_all

    agent = f"tesnap/{__version__}"
    poster = HttpPoster(clock=app.clock, http=app.jobfile.http, environ=os.environ, user_agent=agent)
    return notify_all(app.jobfile.notify, report, poster=poster, clock=app.clock)
