"""Commands that plan job files and make their snapshots: run, plan, rehearse."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.execute import run_and_show, show_plan
from orchestrator.cli.follow import WatchOptions, follow, remembered, told_if_unreadable, watch_options
from orchestrator.cli.options import (
    SPEED,
    OutputOptions,
    Pacing,
    Part,
    duration,
    json_option,
    option,
    option_group,
    output_options,
    pacing_options,
    part_options,
    run_id,
    store_option,
    zone_option,
)
from orchestrator.cli.process import standard_input, use_store

if TYPE_CHECKING:
    from orchestrator.core import JobFile


start_options = option_group(
    option("--name", metavar="NAME", help="What the job is called [its file's name]."),
    option("--run-id", type=run_id, metavar="ID", help="Start or carry on the run of this id."),
    option("--deadline", type=duration, metavar="TIME", help="Stop early after this time, with exit code 5."),
)
"""The options by which a job's start is known, and after which time it stops."""

jobfiles_argument = click.argument("jobfiles", nargs=-1, required=True, metavar="JOBFILE...")


@click.command("run")
@jobfiles_argument
@part_options
@option("--dry-run", is_flag=True, envvar=None, help="Show the plan instead: the same as `tesnap plan`.")
@option("--again", is_flag=True, envvar=None, help="Make snapshots again even if they exist.")
@option(
    "--strict",
    is_flag=True,
    envvar=None,
    help="All or nothing: send nothing if one of the organizations cannot be served.",
)
@start_options
@watch_options
@store_option
@output_options
@pacing_options
def run_command(
    jobfiles: tuple[str, ...],
    *,
    part: Part,
    dry_run: bool,
    again: bool,
    name: str | None,
    store_url: str | None,
    watching: WatchOptions,
    output: OutputOptions,
    pacing: Pacing,
    **options: Any,
) -> int:
    """Plan, queue and make the snapshots of job files and folders of them; safe to repeat.

    What exists already is not made again. Results go to standard output, everything else to standard error.
    """
    with told_if_unreadable(WatchOptions() if dry_run else watching, output):
        jobfile = _read(jobfiles, part, pacing, output)
    jobfile = jobfile if name is None else replace(jobfile, name=name, named=True)
    if dry_run:
        return show_plan(jobfile, output, store_url=store_url, again=again)
    from orchestrator.app import Organizations, RunOptions
    from orchestrator.core import SystemClock

    watching.require_name(jobfile, name)
    clock = SystemClock()
    with (
        follow(jobfile, output, command="run", watching=watching) as start,
        use_store(store_url, clock) as store,
        remembered(start, store),
    ):
        served = Organizations(jobfile, store=store, clock=clock, environ=os.environ)
        return run_and_show(served, RunOptions(again=again, **options), output, start=start)


@click.command("plan")
@jobfiles_argument
@part_options
@option("--offline", is_flag=True, help="Open no connection: organizations are known by name, tests by id.")
@store_option
@json_option
@zone_option
@pacing_options
def plan_command(
    jobfiles: tuple[str, ...],
    *,
    part: Part,
    offline: bool,
    store_url: str | None,
    pacing: Pacing,
    **settings: Any,
) -> int:
    """Show every snapshot that a run would make, when, and what exists already; makes nothing."""
    output = OutputOptions(**settings)
    jobfile = _read(jobfiles, part, pacing, output)
    return show_plan(jobfile, output, store_url=store_url, offline=offline)


@click.command("rehearse")
@jobfiles_argument
@part_options
@option("--speed", type=SPEED, default=100.0, help="How many times faster than real time [100].")
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
def rehearse_command(
    jobfiles: tuple[str, ...],
    *,
    part: Part,
    speed: float,
    seed: int,
    output: OutputOptions,
    pacing: Pacing,
    **simulation: Any,
) -> int:
    """The whole run against the built-in simulator: no account, nothing leaves the machine."""
    from orchestrator.app import Organizations, RunOptions, rehearse

    environ = {**os.environ, "TE_TOKEN": "rehearsal"}
    jobfile = _read(jobfiles, part, pacing, output, environ)
    output.print_notes(
        [
            f"rehearsal: built-in simulator on this machine, {speed:g} times faster than real time; no snapshot is really made"
        ]
    )
    with (
        rehearse(jobfile, speed=speed, seed=seed, **simulation) as stage,
        use_store(stage.store, stage.clock) as store,
    ):
        served = Organizations(
            stage.jobfile, store=store, clock=stage.clock, environ={}, read=stage.read_bearer
        )
        return run_and_show(served, RunOptions(seed=seed), output)


def _read(
    jobfiles: Sequence[str],
    part: Part,
    pacing: Pacing,
    output: OutputOptions,
    environ: Mapping[str, str] = os.environ,
) -> JobFile:
    """The part of the job files that is meant, with these limits; warnings go to standard error."""
    from orchestrator.jobfile import read_jobfiles

    reading = read_jobfiles(jobfiles, environ=environ, stdin=standard_input(jobfiles))
    output.print_notes(reading.warnings)
    return pacing.apply(part.take(reading.jobfile))
