"""Commands about snapshots that are made: report, list."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import (
    duration,
    json_option,
    limit_option,
    option,
    store_option,
    zone_option,
)
from orchestrator.cli.process import array_lines, look_into_store, print_lines, typed_store
from orchestrator.cli.timezone import clock_zone, terminal_zone
from orchestrator.cli.which_run import find_runs
from orchestrator.core import UsageError
from orchestrator.windows import parse_duration

if TYPE_CHECKING:
    from orchestrator.core import Ending, Run
    from orchestrator.output import Report, ReportFormat
    from orchestrator.store import Store

SNAPSHOTS_SHOWN = 50
"""Snapshots that a list has unless more are asked for: what somebody reads through."""

links_option = option(
    "--links", type=click.Choice(["show", "id"]), default="show", help="`id` keeps links out of it [show]."
)


@click.command("report")
@click.argument("run", required=False, metavar="[RUN]")
@option(
    "--format",
    "format_",
    envvar="TESNAP_REPORT_FORMAT",  # TESNAP_FORMAT is the form of a run's results, which has jsonl too
    type=click.Choice(["md", "html", "csv", "table"]),
    help="Form of the report [by the suffix of --output, else table].",
)
@option(
    "--organization",
    envvar="TESNAP_REPORT_ORGANIZATION",  # TESNAP_ORGANIZATION is a glob
    metavar="NAME",
    help="One customer's view: nothing of another organization is in it.",
)
@option(
    "-o",
    "--output",
    metavar="PATH",
    help="Write it into this file, which nobody else can read [standard output].",
)
@links_option
@store_option
@zone_option
def report_command(run: str | None, **settings: Any) -> None:
    """The links of a run, ready to paste or to open; failures first (default: your latest run). An incident's title means all its runs."""
    from orchestrator.core import SystemClock
    from orchestrator.output import join_reports

    kind = _kind_of(settings["format_"], settings["output"])
    zone, show_links = terminal_zone(settings["timezone"], os.environ)[0], settings["links"] == "show"
    with look_into_store(settings["store_url"], SystemClock()) as store:
        report = join_reports(
            [load_report(store, one, zone=zone, show_links=show_links) for one in find_runs(store, run)]
        )
        organization = settings["organization"]
        _write(report if organization is None else report.only(organization), kind, settings["output"])


def load_report(
    store: Store,
    run: Run,
    *,
    zone: tzinfo,
    show_links: bool,
    ending: Ending | None = None,
) -> Report:
    """The report of a run from what the store knows now, and at its end from how it ended."""
    from orchestrator.output import Report, load_results, pending_reasons

    view = store.views.run(run.id)
    limits = {identity: store.organizations.bucket(identity).last_limit for identity in view.counts}
    return Report(
        run=run,
        results=load_results(store.views, run),
        zone=zone,
        now=store.epoch(),
        show_links=show_links,
        ending=ending,
        start=store.starts.last_of([run.id]).get(run.id) if ending is None else None,
        reasons=pending_reasons(store, view) if ending is None else ending.reasons,
        holds={identity: limit.hold for identity, limit in limits.items() if limit},
        live=ending is None and view.processes > 0,
        where=typed_store(),
    )


def _kind_of(form: str | None, output: str | None) -> ReportFormat:
    from orchestrator.core import choice
    from orchestrator.output import SUFFIXES, ReportFormat, is_stream

    if form is not None:
        return ReportFormat(form)
    path = Path(output or "")
    kind = SUFFIXES.get(path.suffix.lower(), ReportFormat.TABLE)
    if kind is ReportFormat.TABLE and path.suffix.lower() not in ("", ".txt") and not is_stream(path):
        raise click.UsageError(
            f"--output {output}: the end of its name chooses the format: use {choice([*SUFFIXES, '.txt'])}, or add --format"
        )
    return kind


def _write(report: Report, kind: ReportFormat, output: str | None) -> None:
    from orchestrator.core import plural
    from orchestrator.output import is_stream, print_report, write_report

    if output not in (None, "-"):
        write_report(str(output), report, kind)
        alone = (
            "" if is_stream(Path(str(output))) else ", readable by you alone: a link opens for whoever has it"
        )
        print(f"wrote {output}: {plural(len(report.results), 'snapshot')}{alone}", file=sys.stderr)
    else:
        print_report(report, sys.stdout, kind)


@click.command("list")
@option("--organization", metavar="GLOB", help="Only organizations matching this.")
@option(
    "--test", metavar="TEST", help="Only this test: its id, a part of its name, or a pattern with * and ?."
)
@option(
    "--made-since", metavar="TIME", help="Only made since then: 14:07, '2h ago', 7d, 2026-11-20T14:00:00Z."
)
@option(
    "--expiring-within",
    type=duration,
    metavar="TIME",
    help="Only those that ThousandEyes deletes, or may delete, within this time, e.g. 7d.",
)
@limit_option(SNAPSHOTS_SHOWN)
@links_option
@store_option
@json_option
@zone_option
def list_command(**settings: Any) -> None:
    """List the latest snapshots of all runs that still exist, those that are deleted first on top."""
    from orchestrator.core import SystemClock
    from orchestrator.output import (
        SnapshotFilter,
        choose_shown,
        find_snapshots,
        snapshots_documents,
        snapshots_table,
        terminal_room,
    )

    zone, _ = terminal_zone(settings["timezone"], os.environ)
    show_links = settings["links"] == "show"
    with look_into_store(settings["store_url"], SystemClock()) as store:
        now = store.epoch()
        wanted = SnapshotFilter(
            organization=settings["organization"],
            test=settings["test"],
            made_since=parse_made_since(settings["made_since"], now, settings["timezone"]),
            within=settings["expiring_within"],
        )
        found, limit = find_snapshots(store, wanted), settings["limit"] or SNAPSHOTS_SHOWN
        if settings["as_json"] and settings["limit"] is None:
            print_lines(array_lines(snapshots_documents(found, show_links=show_links)))
            return
        shown, more = choose_shown(found, wanted, limit)
    if settings["as_json"]:
        print_lines(array_lines(snapshots_documents(shown, show_links=show_links)))
        return
    print_lines(snapshots_table(shown, now, zone, show_links=show_links, room=terminal_room(sys.stdout)))
    if more:
        rest = "older ones" if wanted.within is None else "those that are deleted later"
        print(f"{rest} are not shown: --limit {limit * 10} shows more")


def parse_made_since(text: str | None, now: float, timezone: str | None) -> float | None:
    """Epoch seconds of a moment, or of so long ago; UsageError when it is neither."""
    from orchestrator.windows import parse_moment

    if text is None:
        return None
    with suppress(ValueError):
        return now - parse_duration(text)
    try:
        return parse_moment(text, now=now, timezone=clock_zone(timezone, os.environ))[0]
    except ValueError as error:
        raise UsageError(f"--made-since: {error}") from None
