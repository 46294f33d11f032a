"""The command that forgets old runs: prune."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import duration, json_option, option, store_option, zone_option
from orchestrator.cli.process import Signals, document_lines, print_lines, print_text, use_store
from orchestrator.cli.timezone import terminal_zone
from orchestrator.core import LEAST_AGE, ExitCode, StoreTrouble, UsageError

if TYPE_CHECKING:
    from orchestrator.store import Forgotten, RunSummary, Store

OLDER_THAN = "400d"
"""A year, and some weeks to look back at it."""


def _check_age(_context: click.Context, _option: click.Parameter, age: float) -> float:
    if age < LEAST_AGE:
        raise click.BadParameter(
            f"write {LEAST_AGE // 86_400}d or more: what is younger may still exist, and would be made again"
        )
    return age


@click.command("prune")
@option(
    "--older-than",
    type=duration,
    default=OLDER_THAN,
    callback=_check_age,
    metavar="TIME",
    help="Only runs that began so long ago, 35d or more [400d].",
)
@option("--archive", metavar="FILE.jsonl", help="Add their records to this file first.")
@option(
    "--forget-private",
    is_flag=True,
    help="Forget also that private snapshots were made, which may exist still: they would be made again.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@json_option
@zone_option
def prune_command(
    *,
    older_than: float,
    archive: str | None,
    forget_private: bool,
    yes: bool,
    store_url: str | None,
    as_json: bool,
    timezone: str | None,
) -> int:
    """Forget old runs that are over, with their snapshots; shows them and asks first.

    What is uncertain, unfinished or still needed stays. A run may be at work meanwhile.
    """
    from orchestrator.core import SystemClock
    from orchestrator.output import forgotten_document, forgotten_lines, old_runs_lines

    zone = terminal_zone(timezone, os.environ)[0]
    with use_store(store_url, SystemClock(), must_exist=True) as store:
        now, size = store.epoch(), store.pruning.measure()
        before = now - older_than
        old = store.pruning.find_old(before)
        asking = as_json or not yes  # what is shown before a question is no result
        print_text(old_runs_lines(old, before, now, zone), file=sys.stderr if asking else None)
        if (old or forget_private) and not (yes or _is_agreed(runs=bool(old), private=forget_private)):
            return ExitCode.DONE
        found, stopped = _forget(store, old, before, archive, private=forget_private)
        hindrance = "it was stopped" if stopped else _compact(store)
        after = store.pruning.measure()
    if as_json:
        print_lines(document_lines(forgotten_document(found, before, size, after)))
    else:
        print_text(forgotten_lines(found, size, after, hindrance))
    if stopped:
        print("stopped: the same command goes on with what is left", file=sys.stderr)
    return ExitCode.STOPPED_EARLY if stopped else ExitCode.DONE


def _forget(
    store: Store, old: Sequence[RunSummary], before: float, archive: str | None, *, private: bool
) -> tuple[Forgotten, bool]:
    """Forget these runs, archived first; what was forgotten, and True if a signal stopped it."""
    from orchestrator.app import forget_runs
    from orchestrator.output import Archive

    heard: list[str] = []
    with ExitStack() as opened, Signals.send_to(heard.append):
        file = opened.enter_context(Archive.open(Path(archive))) if archive and old else None
        found = forget_runs(store, old, before, archive=file, private=private, stop=lambda: bool(heard))
    return found, bool(heard)


def _is_agreed(*, runs: bool, private: bool) -> bool:
    """True if the user agrees; UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError("nothing was forgotten: nobody can be asked here, so add --yes")
    them = "private snapshots of earlier days, which would be made again if they are asked for"
    meant = " and ".join([*(["these runs"] if runs else []), *([them] if private else [])])
    return click.confirm(f"forget {meant}?", err=True)


def _compact(store: Store) -> str:
    """Give free room back to the disk; the reason why not, '' where that was done or is not worth it."""
    try:
        return store.pruning.compact()
    except StoreTrouble as error:
        return str(error)
