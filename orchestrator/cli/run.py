"""Commands that make snapshots, or show what would be made: run, plan, rehearse."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.options import (
    DURATION,
    RUN_ID,
    SPEED,
    Shown,
    json_option,
    option,
    organization_option,
    output_options,
    pacing_options,
    shown,
    store_option,
    taken,
    zone_option,
)
from orchestrator.cli.process import open_queue, open_queue_to_look, telling, write_json
from orchestrator.cli.timezone import terminal_zone
from orchestrator.core import ExitCode

if TYPE_CHECKING:
    from orchestrator.core import JobFile


def jobfiles_argument(command: Any) -> Any:
    """The job files of a command."""
    return click.argument("jobfiles", nargs=-1, required=True, metavar="JOBFILE...")(command)


@click.command("run")
@jobfiles_argument
@organization_option
@option("--dry-run", is_flag=True, help="Show the plan instead: the same as `tesnap plan`.")
@option("--again", is_flag=True, help="Make snapshots anew that exist already.")
@option("--run-id", type=RUN_ID, metavar="ID", help="Start or carry on the run of this id.")
@option("--deadline", type=DURATION, metavar="TIME", help="Stop early after this time, with exit code 5.")
@store_option
@output_options
@pacing_options
def run_command(jobfiles: tuple[str, ...], **settings: Any) -> int:
    """Plan, queue and make the snapshots of job files and folders of them; safe to repeat.

    What exists already is not made again. Results go to standard output, everything else to standard error.
    """
    from orchestrator.app import RunOptions
    from orchestrator.cli.execute import run_and_show
    from orchestrator.core import SystemClock

    look, jobfile = shown(settings), _read(jobfiles, settings)
    if settings["dry_run"]:
        return _plan(jobfile, look, store_url=settings["store_url"], again=settings["again"])
    begin = RunOptions(run_id=settings["run_id"], again=settings["again"], deadline=settings["deadline"])
    clock = SystemClock()
    with open_queue(settings["store_url"], clock) as store:
        from orchestrator.app import App

        app = App(jobfile, store=store, clock=clock, environ=os.environ)
        return run_and_show(app, begin, look, clock).exit_code


@click.command("plan")
@jobfiles_argument
@organization_option
@option("--offline", is_flag=True, help="Open no connection: organizations are known by name, tests by id.")
@store_option
@json_option
@zone_option
@pacing_options
def plan_command(jobfiles: tuple[str, ...], **settings: Any) -> int:
    """Show every snapshot that a run would make, when, and what exists already; makes nothing."""
    look = Shown(as_json=settings.pop("as_json"), timezone=settings.pop("timezone"))
    jobfile = _read(jobfiles, settings)
    return _plan(jobfile, look, store_url=settings["store_url"], offline=settings["offline"])


@click.command("rehearse")
@jobfiles_argument
@organization_option
@option("--speed", type=SPEED, default=100.0, help="How many times faster than life [100].")
@option("--faults", is_flag=True, help="Let things go wrong: server errors, lost answers.")
@option(
    "--policy",
    type=click.Choice(["sliding", "fixed", "token_bucket", "refusals_count", "burst_1"]),
    default="sliding",
    help="How the simulator counts the limit [sliding].",
)
@option("--seed", type=int, default=0, help="Another seed, other latencies and faults [0].")
@output_options
@pacing_options
def rehearse_command(jobfiles: tuple[str, ...], **settings: Any) -> int:
    """The whole run against the built-in simulator: no account, nothing leaves the machine."""
    from orchestrator.app import App, RunOptions, rehearsed
    from orchestrator.cli.execute import run_and_show

    look = shown(settings)
    jobfile = _read(jobfiles, settings, environ={**os.environ, "TE_TOKEN": "rehearsal"})
    speed = settings["speed"]
    told = f"rehearsal: built-in simulator on this machine, {speed:g} times faster than life; no snapshot is really made"
    if not look.quiet:
        print(told, file=sys.stderr)
    with (
        rehearsed(
            jobfile, speed=speed, faults=settings["faults"], policy=settings["policy"], seed=settings["seed"]
        ) as stage,
        open_queue(stage.store, stage.clock) as store,
    ):
        app = App(stage.jobfile, store=store, clock=stage.clock, environ={}, read=stage.read)
        return run_and_show(
            app, RunOptions(seed=settings["seed"]), look, stage.clock, rehearsal=True
        ).exit_code


def _read(
    jobfiles: tuple[str, ...], settings: dict[str, Any], environ: Mapping[str, str] | None = None
) -> JobFile:
    """The job files, with what the command line says about them; warnings go to standard error."""
    from orchestrator.jobfile import read_jobfiles

    reading = read_jobfiles(jobfiles, environ=os.environ if environ is None else environ, stdin=sys.stdin)
    for warning in reading.warnings:
        print(warning, file=sys.stderr)
    return taken(settings).applied(reading.jobfile.only_organizations(settings.pop("organizations")))


def _plan(
    jobfile: JobFile,
    look: Shown,
    *,
    store_url: str | None,
    offline: bool = False,
    again: bool = False,
    deployed: bool = True,
) -> int:
    from orchestrator.app import App, planned
    from orchestrator.core import SystemClock
    from orchestrator.output import plan_document, plan_lines

    clock = SystemClock()
    with open_queue_to_look(store_url, clock) as store, ExitStack() as stack:
        app = App(jobfile, store=store, clock=clock, environ=os.environ, offline=offline)
        stack.callback(app.close)
        view = planned(app, offline=offline, again=again, tell=telling(look.timezone, quiet=look.quiet))
    if look.as_json:
        write_json(plan_document(view))
    else:
        for line in plan_lines(view, terminal_zone(look.timezone, os.environ)[0], deployed=deployed):
            print(line)
    return ExitCode.REFUSED if view.refused else ExitCode.DONE
