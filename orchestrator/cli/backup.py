"""Commands for a copy of the store: backup, restore."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from orchestrator.cli.options import store_option, zone_option
from orchestrator.cli.process import default_store, tell_of_holder, use_store
from orchestrator.cli.timezone import clock_zone
from orchestrator.core import Clock, SystemClock, UsageError, utc_text


@click.command("backup")
@click.argument("file", metavar="FILE|-")
@store_option
def backup_command(file: str, store_url: str | None) -> None:
    """Copy the store into a new file (`-`: to standard output), also while a run is at work.

    A copy is no store: `tesnap restore` makes one of it.
    """
    from orchestrator.store import back_up, store_exists

    store, clock = store_url or default_store(), SystemClock()
    if not store_exists(store):
        raise UsageError("nothing has been run with this store yet")
    if file != "-":
        back_up(store, Path(file), clock)
        print(f"{file}: the store as it is now; `tesnap restore {file}` puts it back")
        return
    if sys.stdout.isatty():
        raise UsageError("a backup is no text: name a file, or lead standard output into one")
    with TemporaryDirectory(prefix="tesnap-") as folder:
        copy = Path(folder) / "backup"
        back_up(store, copy, clock)
        with copy.open("rb") as content:
            shutil.copyfileobj(content, sys.stdout.buffer)


@click.command("restore")
@click.argument("file", required=False, metavar="[FILE]")
@click.option(
    "--declare",
    metavar="TIME",
    help="Instead of FILE: the store was put back by other means, as it was at this moment.",
)
@store_option
@zone_option
def restore_command(
    file: str | None, *, declare: str | None, store_url: str | None, timezone: str | None
) -> None:
    """Put a backup in the place of a store that is gone, or make known that one was put back by other means.

    What was made after it was taken is not known: all slots are held for one period, what was under way is uncertain,
    and what is sent is marked, as it may exist already.
    """
    if (file is None) == (declare is None):
        raise click.UsageError(
            "name the backup's file, or write --declare TIME for a store that is back in its place"
        )
    clock = SystemClock()
    if file is not None:
        from orchestrator.store import restore

        taken = restore(store_url or default_store(), Path(file), clock, on_held=tell_of_holder)
    else:
        taken = _parse_time(str(declare), clock, timezone)
        with use_store(store_url, clock, must_exist=True) as store:
            store.declare_put_back(taken)
    print(
        f"the store is as it was at {utc_text(taken)}: what was made after that is not known to it; `tesnap runs` shows what it"
        " knows, `tesnap resume RUN` carries on with a run",
        file=sys.stderr,
    )


def _parse_time(text: str, clock: Clock, timezone: str | None) -> float:
    """The moment that is meant, in epoch seconds, which is over; click's error for another one."""
    from orchestrator.windows import parse_moment

    now = clock.wall()
    try:
        at = parse_moment(text, now=now, timezone=clock_zone(timezone, os.environ)).at
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--declare") from None
    if at > now:
        raise click.BadParameter(f"{utc_text(at)} is still to come", param_hint="--declare")
    return at
