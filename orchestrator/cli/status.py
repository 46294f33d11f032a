"""Commands that look into the store: status, runs."""

from __future__ import annotations

import os
import sys

import click

from orchestrator.cli.options import json_option, store_option, zone_option
from orchestrator.cli.process import document_lines, look_into_store, print_lines, print_text, typed_store
from orchestrator.cli.timezone import terminal_zone


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
@store_option
@json_option
@zone_option
def runs_command(*, store_url: str | None, as_json: bool, timezone: str | None) -> None:
    """List the runs in the store, the latest first."""
    from orchestrator.core import SystemClock
    from orchestrator.output import run_document, runs_table, terminal_room

    with look_into_store(store_url, SystemClock()) as store:
        views = store.views.runs()
        now = store.epoch()
    if as_json:
        print_lines(document_lines([run_document(view) for view in views]))
        return
    zone, room = terminal_zone(timezone, os.environ)[0], terminal_room(sys.stdout)
    print_lines(runs_table(views, now, zone, room=room))
