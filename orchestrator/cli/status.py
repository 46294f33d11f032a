"""Commands that look into the store: status, runs, metrics."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from fnmatch import filter as filter_names
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.follow import metrics_organizations_option
from orchestrator.cli.options import json_option, limit_option, option, store_option, zone_option
from orchestrator.cli.process import (
    array_lines,
    document_lines,
    look_into_store,
    print_lines,
    print_text,
    typed_store,
    use_store,
)
from orchestrator.cli.timezone import terminal_zone
from orchestrator.cli.which_run import find_run
from orchestrator.core import UsageError, is_like

if TYPE_CHECKING:
    from orchestrator.core import Start
    from orchestrator.store import RunSummary, Store

RUNS_SHOWN = 20
"""Runs that a list has unless more are asked for: a screen of them."""

MOST_COUNTED = 1_000
"""Runs that are counted of those that are not shown: beyond, nobody needs the number."""


@click.command("status")
@click.argument("run", required=False, metavar="[RUN]")
@store_option
@json_option
@zone_option
def status_command(run: str | None, *, store_url: str | None, as_json: bool, timezone: str | None) -> None:
    """Where a run is and why it waits; also from another terminal (default: your latest run)."""
    from orchestrator.core import SystemClock
    from orchestrator.output import load_status, status_document, status_lines

    with look_into_store(store_url, SystemClock()) as store:
        found = load_status(store, find_run(store, run).id)
    if as_json:
        print_lines(document_lines(status_document(found)))
    else:
        print_text(status_lines(found, terminal_zone(timezone, os.environ)[0], store=typed_store()))


@click.command("runs")
@option(
    "--failed", is_flag=True, envvar=None, help="Only runs whose last process did not end with exit code 0."
)
@option("--organization", metavar="GLOB", help="Only runs that have an organization matching this.")
@option("--title", envvar=None, metavar="TEXT", help="Only runs of an incident whose title has this in it.")
@limit_option(RUNS_SHOWN)
@store_option
@json_option
@zone_option
def runs_command(
    *, limit: int | None, store_url: str | None, as_json: bool, timezone: str | None, **which: Any
) -> None:
    """List the runs in the store, the latest first, with how they ended."""
    from orchestrator.core import SystemClock
    from orchestrator.output import run_document, runs_table, terminal_room

    with look_into_store(store_url, SystemClock()) as store:
        runs = _find_runs(store, **which)
        if as_json:
            print_lines(array_lines(run_document(*one) for one in islice(runs, limit)))
            return
        shown, now = list(islice(runs, limit or RUNS_SHOWN)), store.epoch()
        older = shown and not any(which.values())  # how many of the older ones are meant is not counted
        more = store.history.count_runs(before=shown[-1][0].run, most=MOST_COUNTED + 1) if older else 0
    zone, room = terminal_zone(timezone, os.environ)[0], terminal_room(sys.stdout)
    starts = {view.run.id: start for view, start in shown if start is not None}
    print_lines(runs_table([view for view, _ in shown], starts, now, zone, room=room))
    if more:
        words = f"{more:,}" if more <= MOST_COUNTED else f"over {MOST_COUNTED:,}"
        print(f"{words} more: --limit {len(shown) + min(more, MOST_COUNTED)} shows them")


def _find_runs(
    store: Store, *, failed: bool, organization: str | None, title: str | None
) -> Iterator[tuple[RunSummary, Start | None]]:
    """The runs that are meant, the latest first, each with what is remembered of its last process; read page by page."""
    runs = store.history.runs()
    while some := list(islice(runs, RUNS_SHOWN)):
        ids = [view.run.id for view in some]
        starts = store.starts.last_of(ids)
        names = {} if organization is None else store.history.organizations(ids)
        for view in some:
            start = starts.get(view.run.id)
            told = "" if start is None else start.title
            if (
                not (failed and _ended_well(view, start))
                and (organization is None or filter_names(names.get(view.run.id, ()), organization))
                and (title is None or (told and is_like(told, title)))
            ):
                yield view, start


def _ended_well(view: RunSummary, start: Start | None) -> bool:
    """True for a run that is at work, or whose last process ended with exit code 0."""
    return view.processes > 0 or (start is not None and start.exit_code == 0)


@click.command("metrics")
@option(
    "--output",
    "-o",
    "path",
    envvar="TESNAP_METRICS_OUTPUT",  # TESNAP_METRICS is the file of a run's own job
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Replace this file (*.prom) as a whole [standard output].",
)
@metrics_organizations_option
@option(
    "--forget",
    "forgotten",
    multiple=True,
    envvar=None,
    metavar="NAME",
    help="Leave out this job from now on, until it runs again: it was renamed or given up.",
)
@store_option
def metrics_command(
    *, path: Path | None, metrics_organizations: bool, forgotten: tuple[str, ...], store_url: str | None
) -> None:
    """Prometheus metrics of every job in the store: last success, last run, counts, the first link to end."""
    from orchestrator.core import SystemClock
    from orchestrator.output import check_metrics_path, load_figures, metrics_text, write_metrics

    if path is not None:
        check_metrics_path(path)
    if forgotten:
        _forget_jobs(forgotten, store_url)
    with look_into_store(store_url, SystemClock()) as store:
        figures = [load_figures(store, name) for name in store.starts.jobs()]
    text = metrics_text(figures, organizations=metrics_organizations)
    if path is None:
        print(text, end="")
        return
    try:
        write_metrics(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _forget_jobs(names: Sequence[str], store_url: str | None) -> None:
    """Leave these jobs out of the metrics from now on; UsageError, and nothing is changed, where one is not known."""
    from orchestrator.core import SystemClock, nearest_words, quote

    with use_store(store_url, SystemClock(), must_exist=True) as store:
        known = store.starts.jobs()
        for name in names:
            if name not in known:
                there = f"; there are some of {nearest_words(name, known)}" if known else ""
                raise UsageError(f"there are no metrics of a job {quote(name)}{there}")
        for name in names:
            store.starts.forget_job(name)
            print(
                f"{name} is left out until it runs again; `tesnap runs` has its runs still", file=sys.stderr
            )
