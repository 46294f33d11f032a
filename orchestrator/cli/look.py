"""Commands that look into the store: status, runs."""

from __future__ import annotations

import os
from typing import Any

import click

from orchestrator.cli.frame import opened_to_look, terminal_zone, typed_store, write_json
from orchestrator.cli.options import json_option, store_option, zone_option


@click.command("status")
@click.argument("run", default="last", metavar="[RUN]")
@store_option
@json_option
@zone_option
def status_command(run: str, *, store: str | None, as_json: bool, timezone: str | None) -> int:
    """Where a run is and why it waits; also from another terminal (default: the latest run)."""
    from orchestrator import standing
    from orchestrator.clock import SystemClock

    with opened_to_look(store, SystemClock()) as queue:
        found = standing.stand(queue, queue.find_run(run).id)
    if as_json:
        write_json(standing.document(found))
        return 0
    for line in standing.lines(found, terminal_zone(timezone, os.environ)[0], store=typed_store()):
        print(line)
    return 0


@click.command("runs")
@store_option
@json_option
@zone_option
def runs_command(store: str | None, **look: Any) -> int:
    """List the runs in the store, the latest first."""
    from orchestrator import standing
    from orchestrator.clock import SystemClock

    with opened_to_look(store, SystemClock()) as queue:
        views = queue.runs()
        now = queue.epoch()
    if look["as_json"]:
        write_json([standing.run_object(view) for view in views])
        return 0
    for line in standing.run_lines(views, now, terminal_zone(look["timezone"], os.environ)[0]):
        print(line)
    return 0
