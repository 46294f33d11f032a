"""The run that a command means: by its id, by an incident's title, or without a word the latest that its user started."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from orchestrator.core import Run, UsageError

if TYPE_CHECKING:
    from orchestrator.store import Store


def find_run(store: Store, word: str | None) -> Run:
    """The one run that is meant, the latest of several under one title; which it is, is said where no id was given."""
    *earlier, run = find_runs(store, word)
    if earlier:
        print(f"tesnap: {word} has {len(earlier) + 1} runs; {run.id} is the latest", file=sys.stderr)
    return run


def find_runs(store: Store, word: str | None) -> list[Run]:
    """The run of this id, or the runs under this title, the oldest first; UsageError where there is none."""
    if word is None:
        run = _find_latest(store)
        print(f"tesnap: run {run.id} of {run.job}", file=sys.stderr)
        return [run]
    try:
        return [store.views.find_run(word)]
    except UsageError:
        titled = [store.views.find_exact(run_id) for run_id in store.starts.titled(word)]
        if found := [run for run in titled if run is not None]:
            return found
        raise


def _find_latest(store: Store) -> Run:
    """At a terminal the latest run that this user started at one of this machine: nobody's who is not asked. Else the latest."""
    latest = store.views.find_run("last")
    if not sys.stderr.isatty():
        return latest
    from orchestrator.app import user_name

    user, host = user_name(), os.uname().nodename
    own = store.starts.latest_run(user, host)
    if own is None:
        raise UsageError(
            f"{user} has started no run at a terminal of {host}, so name one: the latest is {latest.id} of {latest.job}"
        )
    return store.views.find_run(own)
