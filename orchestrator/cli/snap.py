"""Commands for an incident: tests, snap."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.execute import run_and_show, show_plan
from orchestrator.cli.follow import follow, remembered
from orchestrator.cli.options import (
    OutputOptions,
    Pacing,
    duration,
    json_option,
    option,
    option_group,
    output_options,
    pacing_options,
    store_option,
    zone_option,
)
from orchestrator.cli.process import (
    document_lines,
    pause_printer,
    print_lines,
    standard_input,
    use_store,
)
from orchestrator.cli.timezone import clock_zone
from orchestrator.core import ExitCode, Fit, Run

if TYPE_CHECKING:
    from orchestrator.app import Preparation
    from orchestrator.jobfile import AdhocJob, AdhocRequest
    from orchestrator.planning import Preview


FEW = 5
"""Matches that go without saying; more are announced before the first one goes."""

AT_ONCE = 10.0
"""Seconds within which a start counts as now."""


where_options = option_group(
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
        help="Use the organizations of this job file [TE_TOKEN_FILE or TE_TOKEN].",
    ),
)
"""The options for whose tests are meant."""


selector_options = option_group(
    option(
        "--test-name",
        "test_names",
        metavar="TEXT",
        help="A part of the name, or a pattern with * and ?; repeatable.",
        multiple=True,
    ),
    option(
        "--type",
        "types",
        metavar="TYPE",
        help="A test type, e.g. http-server; repeatable.",
        multiple=True,
    ),
    option(
        "--tag",
        "tags",
        metavar="KEY:VALUE",
        help="A tag, e.g. team:payments or team:*; repeatable.",
        multiple=True,
    ),
    option(
        "--alerting",
        is_flag=True,
        help="Only tests with an alert active at any moment of the window.",
    ),
    option("--enabled", is_flag=True, help="Only tests that are enabled."),
    option(
        "--exclude",
        metavar="ID|TEXT",
        help="Leave out these ids or names; repeatable.",
        multiple=True,
    ),
    option("--max-tests", type=click.IntRange(1), metavar="N", help="Refuse if more tests match."),
)
"""The options for tests whose ids are not known."""


window_options = option_group(
    option(
        "--since",
        "--from",
        "since",
        metavar="TIME",
        help="Start: 14:07, '2 h ago', 'yesterday 22:00', or alert for the earliest alert's.",
    ),
    option("--until", "--to", "until", metavar="TIME", help="End [the last full minute]."),
    option("--last", type=duration, metavar="TIME", help="This long up to the end, e.g. 2h."),
    option("--around", metavar="TIME", help="A window around this moment."),
    option("--duration", type=duration, metavar="TIME", help="The length of --around [1h]."),
    option(
        "--fit",
        type=click.Choice([fit.value for fit in Fit]),
        default=Fit.COVER.value,
        help="When the API does not take the length: cover moves the start back [cover].",
    ),
)
"""The options for the time; a bare clock time is the latest such moment in the terminal's zone."""


@click.command("snap")
@click.argument("tests", nargs=-1, metavar="[TEST...]")
@window_options
@selector_options
@where_options
@option("--title", default="", metavar="TEXT", help="Goes before each display name, e.g. INC-4711.")
@option("--dry-run", is_flag=True, envvar=None, help="Show what would be made, and when; makes nothing.")
@option("--again", is_flag=True, envvar=None, help="Make snapshots again even if they exist.")
@store_option
@output_options
@pacing_options
def snap_command(
    tests: tuple[str, ...],
    *,
    jobfile: str | None,
    organizations: tuple[str, ...],
    dry_run: bool,
    again: bool,
    store_url: str | None,
    output: OutputOptions,
    pacing: Pacing,
    **request: Any,
) -> int:
    """Make snapshots in an incident, without a job file; they go before everything else in the store.

    Of test ids (`-` reads them from standard input), and of what --alerting, --tag, --test-name and --type select.
    """
    from orchestrator.core import SystemClock
    from orchestrator.jobfile import find_organizations, make_adhoc_job

    clock, typed = SystemClock(), _make_request(tests, **request)
    known = find_organizations(jobfile, organizations, environ=os.environ)
    meant = make_adhoc_job(typed, known, now=clock.wall(), timezone=clock_zone(output.timezone, os.environ))
    paced = pacing.apply(meant.jobfile)
    if dry_run:
        output.print_notes(meant.notes)
        return show_plan(paced, output, store_url=store_url, again=again, deployed=False)
    from orchestrator.app import Organizations, RunOptions

    with (
        follow(paced, output, command="snap") as start,
        use_store(store_url, clock) as store,
        remembered(start, store),
    ):
        served = Organizations(paced, store=store, clock=clock, environ=os.environ)
        announce = partial(_announce, meant=meant, output=output)
        return run_and_show(served, RunOptions(again=again), output, announce=announce, start=start)


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
def tests_command(
    *,
    jobfile: str | None,
    organizations: tuple[str, ...],
    format_: str,
    as_json: bool,
    timezone: str | None,
    **request: Any,
) -> int:
    """Show which tests selectors match, those with alerts first; without selectors, all. Makes nothing."""
    from orchestrator.app import matching_tests, read_lists
    from orchestrator.core import SystemClock
    from orchestrator.jobfile import find_organizations, make_search_job
    from orchestrator.output import (
        documents_of_tests,
        ids_of_tests,
        table_of_tests,
        terminal_room,
        yaml_of_tests,
    )

    clock, output = SystemClock(), OutputOptions(timezone=timezone)
    typed, known = (
        _make_request((), **request),
        find_organizations(jobfile, organizations, environ=os.environ),
    )
    meant = make_search_job(typed, known, now=clock.wall(), timezone=clock_zone(timezone, os.environ))
    output.print_notes(meant.notes)
    surveys = read_lists(meant.jobfile, clock, os.environ, pause_printer(output.zone))
    rows = matching_tests(meant.jobfile, surveys, clock, lambda note: output.print_notes([note]))
    if as_json:
        print_lines(document_lines(documents_of_tests(rows)))
    elif format_ == "table":
        room = terminal_room(sys.stdout)
        print_lines(table_of_tests(rows, now=clock.wall(), zone=output.zone, room=room))
    else:
        print_lines(ids_of_tests(rows) if format_ == "ids" else yaml_of_tests(rows))
    stops = (survey.stopped.exit_code for survey in surveys.values() if survey.stopped is not None)
    return max(stops, default=ExitCode.DONE)


def _make_request(tests: Sequence[str], *, fit: str, **typed: Any) -> AdhocRequest:
    """The request that was typed; ids may come from standard input."""
    from orchestrator.jobfile import AdhocRequest, read_test_ids

    return AdhocRequest(tests=read_test_ids(tests, standard_input(tests)), fit=Fit(fit), **typed)


def _announce(preparation: Preparation, *, meant: AdhocJob, output: OutputOptions) -> None:
    """Say what is about to be made; without anything to make, a refused token ends the command."""
    from orchestrator.app import preview_plan

    plan, surveys = preparation.basis, preparation.surveys.values()
    stops = [survey.stopped.exit_code for survey in surveys if survey.stopped is not None]
    if isinstance(plan, Run):  # carried on: that was said when it was planned
        return
    if next(iter(plan), None) is None and stops:
        raise click.exceptions.Exit(max(stops))  # why has been told; there is nothing to carry on
    again = preparation.options.again
    preview = preview_plan(preparation.organizations, plan, preparation.served, again=again)
    output.print_notes([*meant.notes, *announcement(preview, output, terminal=sys.stderr.isatty())])


def announcement(preview: Preview, output: OutputOptions, *, terminal: bool) -> Iterator[str]:
    """The windows, and on a terminal how many tests match and how long they will take."""
    from orchestrator.output import match_text
    from orchestrator.windows import clock_time, window_text

    zone, now = output.zone, preview.now
    snapshots = [snapshot for organization in preview for snapshot in organization.snapshots]
    tasks = [snapshot.task for snapshot in snapshots]
    for window in sorted({task.window for task in tasks}):
        yield f"window {window_text(window, zone, now)}"
    matches = len({(task.organization, task.account_group, task.test_id) for task in tasks})
    if not terminal or matches <= FEW:
        return
    starts = [snapshot.starts_at for snapshot in snapshots if snapshot.starts_at is not None]
    first = sum(
        snapshot.starts_at <= now + AT_ONCE
        for snapshot in snapshots
        if snapshot.group == 1 and snapshot.starts_at is not None
    )
    if starts and not first:
        yield f"{matches} tests match. The first at {clock_time(min(starts), now, zone)}: all slots are used. Ctrl-C stops."
    elif starts:
        yield match_text(matches, first, max(starts), now, zone)
