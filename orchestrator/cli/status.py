"""Commands that look into the store: status, runs."""

from __future__ import annotations

import os
import sys
from itertools import islice

import click

from orchestrator.cli.options import json_option, limit_option, store_option, zone_option
from orchestrator.cli.process import (
    array_lines,
    document_lines,
    look_into_store,
    print_lines,
    print_text,
    typed_store,
)
from orchestrator.cli.timezone import terminal_zone

RUNS_SHOWN = 20
"""Runs that a list has unless more are asked for: a screen of them."""

MOST_COUNTED = 1_000
"""Runs that are counted of those that are not shown: beyond, nobody needs the number."""


@click.command("status")
@click.argument("run", default="last", metavar="[RUN]")
@store_option
@json_option
@zone_option
def status_command(run: str, *, store_url: str | None, as_json: bool, timezone: str | None) -> None:
    """Where a run is and why it waits; also from another terminal (default: the latest run)."""
    from orchestrator.core import SystemClock
    from orchestrator.output import load_status, status_document, status_lines

    with look_into_store(store_url, SystemClock()) as store:
        found = load_status(store, store.views.find_run(run).id)
    if as_json:
        print_lines(document_lines(status_document(found)))
    else:
        print_text(status_lines(found, terminal_zone(timezone, os.environ)[0], store=typed_store()))


@click.command("runs")
@limit_option(RUNS_SHOWN)
@store_option
@json_option
@zone_option
def runs_command(*, limit: int | None, store_url: str | None, as_json: bool, timezone: str | None) -> None:
    """List the runs in the store, the latest first."""
    from orchestrator.core import SystemClock
    from orchestrator.output import run_document, runs_table, terminal_room

    with look_into_store(store_url, SystemClock()) as store:
        runs = store.history.runs()
        if as_json:
            print_lines(array_lines(map(run_document, islice(runs, limit))))
            return
        shown, now = list(islice(runs, limit or RUNS_SHOWN)), store.epoch()
        more = store.history.count_runs(before=shown[-1].run, most=MOST_COUNTED + 1) if shown else 0
    zone, room = terminal_zone(timezone, os.environ)[0], terminal_room(sys.stdout)
    print_lines(runs_table(shown, now, zone, room=room))
    if more:
        words = f"{more:,}" if more <= MOST_COUNTED else f"over {MOST_COUNTED:,}"
        print(f"{words} more: --limit {len(shown) + min(more, MOST_COUNTED)} shows them")
