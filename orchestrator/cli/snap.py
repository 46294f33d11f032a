"""Commands for an incident: tests, snap."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from orchestrator.app import matching_tests, read_lists
from orchestrator.cli.options import (
    DURATION,
    Shown,
    json_option,
    option,
    output_options,
    pacing_options,
    shown,
    store_option,
    taken,
    zone_option,
)
from orchestrator.cli.process import open_queue, telling, write_json
from orchestrator.cli.timezone import clock_zone, terminal_zone
from orchestrator.core import ExitCode, Fit

if TYPE_CHECKING:
    from orchestrator.app import App, Planned
    from orchestrator.core import JobFile
    from orchestrator.jobfile import AdhocJob, AdhocRequest
    from orchestrator.planning import OrganizationSurvey, Plan, Preview
    from orchestrator.worker import ServedOrganization


FEW = 5
"""So many matches go without saying; more are announced before the first one goes."""

EXAMPLES = "\b\nExamples:\n  tesnap snap --alerting --last 2h\n  tesnap snap 202701 202702 --since 14:07 --title INC-4711"

AT_ONCE = 10.0
"""Seconds within which a start counts as now."""


def where_options(command: Any) -> Any:
    """Whose tests."""
    options = [
        option(
            "--organization",
            "organizations",
            multiple=True,
            metavar="GLOB",
            help="Only organizations of --jobfile that match; repeatable.",
        ),
        option(
            "--account-group",
            metavar="AID",
            help="Look in this account group alone [all that the token sees].",
        ),
        option(
            "--jobfile",
            metavar="FILE",
            help="A job file whose organizations are meant [TE_TOKEN_FILE or TE_TOKEN].",
        ),
    ]
    return _all(options, command)


def selector_options(command: Any) -> Any:
    """Which tests, without knowing their ids."""
    many: dict[str, Any] = {"multiple": True}
    options = [
        option(
            "--test-name",
            "test_names",
            metavar="TEXT",
            help="A part of the name, or a pattern with * and ?; repeatable.",
            **many,
        ),
        option("--type", "types", metavar="TYPE", help="A test type, e.g. http-server; repeatable.", **many),
        option(
            "--tag",
            "tags",
            metavar="KEY:VALUE",
            help="A tag, e.g. team:payments or team:*; repeatable.",
            **many,
        ),
        option(
            "--alerting", is_flag=True, help="Only tests with an alert active at any moment of the window."
        ),
        option("--enabled", is_flag=True, help="Only tests that are enabled."),
        option("--exclude", metavar="ID|TEXT", help="Not these ids or names after all; repeatable.", **many),
        option("--max-tests", type=click.IntRange(1), metavar="N", help="Refuse if more tests match."),
    ]
    return _all(options, command)


def window_options(command: Any) -> Any:
    """Which time; a bare clock time is the latest such moment in the terminal's zone."""
    options = [
        option(
            "--since",
            "--from",
            "since",
            metavar="TIME",
            help="Start: 14:07, '2 h ago', 'yesterday 22:00', or alert for the earliest alert's.",
        ),
        option("--until", "--to", "until", metavar="TIME", help="End [the last full minute]."),
        option("--last", type=DURATION, metavar="TIME", help="This long up to the end, e.g. 2h."),
        option("--around", metavar="TIME", help="A window around this moment."),
        option("--duration", type=DURATION, metavar="TIME", help="The length of --around [1h]."),
        option(
            "--fit",
            type=click.Choice([fit.value for fit in Fit]),
            default=Fit.COVER.value,
            help="When the API does not take the length: cover moves the start back [cover].",
        ),
    ]
    return _all(options, command)


def _all(options: Iterable[Any], command: Any) -> Any:
    for one in reversed(list(options)):
        command = one(command)
    return command


@click.command("snap", epilog=EXAMPLES)
@click.argument("tests", nargs=-1, metavar="[TEST...]")
@window_options
@selector_options
@where_options
@option("--title", default="", metavar="TEXT", help="Goes before each display name, e.g. INC-4711.")
@option("--dry-run", is_flag=True, help="Show what would be made, and when; makes nothing.")
@option("--again", is_flag=True, help="Make snapshots anew that exist already.")
@store_option
@output_options
@pacing_options
def snap_command(tests: tuple[str, ...], **settings: Any) -> int:
    """Make snapshots in an incident, without a job file; they go before everything else in the store.

    Of test ids (`-` reads them from standard input), and of what --alerting, --tag, --test-name and --type select.
    """
    from orchestrator.cli.execute import run_and_show
    from orchestrator.cli.run import _plan
    from orchestrator.core import SystemClock
    from orchestrator.jobfile import make_adhoc_job

    look, clock = shown(settings), SystemClock()
    pacing, words = taken(settings), _words(tests, settings)
    known = _known(settings)
    meant = make_adhoc_job(words, known, now=clock.wall(), timezone=clock_zone(look.timezone, os.environ))
    jobfile = pacing.applied(meant.jobfile)
    if settings["dry_run"]:
        _say(meant.notes, look)
        return _plan(jobfile, look, store_url=settings["store_url"], again=settings["again"], deployed=False)
    from orchestrator.app import App, RunOptions

    with open_queue(settings["store_url"], clock) as store:
        again = settings["again"]
        app = App(jobfile, store=store, clock=clock, environ=os.environ)
        planned = _announcing(app, look, meant, again=again)
        return run_and_show(app, RunOptions(again=again), look, clock, planned=planned).exit_code


@click.command("tests")
@selector_options
@window_options
@where_options
@option(
    "--format",
    "format_",
    envvar="TESNAP_TESTS_FORMAT",  # TESNAP_FORMAT is the form of a run's results, which are others
    type=click.Choice(["table", "ids", "yaml"]),
    default="table",
    help="ids for `tesnap snap -`, yaml for a job file [table].",
)
@json_option
@zone_option
def tests_command(format_: str, *, as_json: bool, timezone: str | None, **settings: Any) -> int:
    """Show which tests selectors mean, those with alerts first; without selectors, all. Makes nothing."""
    from orchestrator.core import SystemClock
    from orchestrator.jobfile import make_search_job
    from orchestrator.output import documents_of_tests, ids_of_tests, table_of_tests, yaml_of_tests

    clock, look = SystemClock(), Shown(timezone=timezone)
    meant = make_search_job(
        _words((), settings), _known(settings), now=clock.wall(), timezone=clock_zone(timezone, os.environ)
    )
    _say(meant.notes, look)
    surveys = read_lists(meant.jobfile, clock, telling(timezone))
    rows = list(matching_tests(meant.jobfile, surveys, clock, lambda line: _say([line], look)))
    if as_json:
        write_json(documents_of_tests(rows))
    else:
        forms = {"ids": ids_of_tests, "yaml": yaml_of_tests}
        zone = terminal_zone(timezone, os.environ)[0]
        lines = (
            forms[format_](rows) if format_ in forms else table_of_tests(rows, now=clock.wall(), zone=zone)
        )
        for line in lines:
            print(line)
    return ExitCode.REFUSED if any(survey.stopped for survey in surveys.values()) else ExitCode.DONE


def _words(tests: tuple[str, ...], settings: dict[str, Any]) -> AdhocRequest:
    """What was typed, taken out of a command's settings."""
    from orchestrator.jobfile import AdhocRequest, read_test_ids

    names = ["test_names", "types", "tags", "alerting", "enabled", "exclude", "max_tests", "account_group"]
    names += ["since", "until", "last", "around", "duration"]
    values = {name: settings.pop(name) for name in names}
    title = settings.get("title", "")
    return AdhocRequest(
        tests=read_test_ids(tests, sys.stdin), fit=Fit(settings.pop("fit")), title=title, **values
    )


def _known(settings: Mapping[str, Any]) -> JobFile:
    from orchestrator.jobfile import find_organizations

    return find_organizations(settings["jobfile"], settings["organizations"], environ=os.environ)


def _say(lines: Iterable[str], look: Shown) -> None:
    """Tell on standard error."""
    for line in () if look.quiet else lines:
        print(line, file=sys.stderr)


# -- snap ------------------------------------------------------------------------------------------------


def _announcing(app: App, look: Shown, meant: AdhocJob, *, again: bool) -> Planned:
    """Says what is about to be done as soon as that is known."""

    def planned(
        plan: Plan, surveys: Mapping[str, OrganizationSurvey], lanes: Mapping[str, ServedOrganization]
    ) -> None:
        if not plan.tasks and any(survey.stopped for survey in surveys.values()):
            raise click.exceptions.Exit(ExitCode.REFUSED)  # why has been told; there is nothing to carry on
        view = app.foresee(plan, lanes, again=again)
        _say([*meant.notes, *_announcement(view, look, terminal=sys.stderr.isatty())], look)

    return planned


def _announcement(view: Preview, look: Shown, *, terminal: bool) -> Iterator[str]:
    """The windows, and on a terminal how many tests match and how long they will take."""
    from orchestrator.output import match_text
    from orchestrator.windows import clock_time, window_text

    zone, _ = terminal_zone(look.timezone, os.environ)
    for window in sorted({snapshot.task.window for snapshot in view.snapshots}):
        yield f"window {window_text(window, zone, view.now)}"
    matches = len(
        {
            (snapshot.task.organization, snapshot.task.account_group, snapshot.task.test_id)
            for snapshot in view.snapshots
        }
    )
    if not terminal or matches <= FEW:
        return
    starts = [snapshot.starts_at for snapshot in view.snapshots if snapshot.starts_at is not None]
    soon = [snapshot for snapshot in view.snapshots if snapshot.group == 1 and snapshot.starts_at is not None]
    first = sum((snapshot.starts_at or 0.0) <= view.now + AT_ONCE for snapshot in soon)
    if starts and not first:
        yield f"{matches} tests match. The first at {clock_time(min(starts), view.now, zone)}: all slots are used. Ctrl-C stops."
    elif starts:
        yield match_text(matches, first, max(starts), view.now, zone)
