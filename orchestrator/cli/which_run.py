"""The run that a command means: by its id, by an incident's title, or without a word the user's own, or simply the latest.

Without a word it is said on standard error which run was taken.
"""

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
        run = _find_own(store) if sys.stderr.isatty() else store.views.find_run("last")
        print(f"tesnap: run {run.id} of {run.job}", file=sys.stderr)
        return [run]
    try:
        return [store.views.find_run(word)]
    except UsageError:
        titled = [store.views.find_exact(run_id) for run_id in store.starts.titled(word)]
        if found := [run for run in titled if run is not None]:
            return found
        raise


def _find_own(store: Store) -> Run:
    """The latest run that this user started at a terminal of this machine: never another one's, or cron's."""
    from orchestrator.app import user_name

    latest = store.views.find_run("last")
    user, host = user_name(), os.uname().nodename
    own = store.starts.latest_run(user, host)
    if own is None:
        raise UsageError(
            f"{user} has started no run at a terminal of {host}, so name one: the latest is {latest.id} of {latest.job}"
        )
    return store.views.find_run(own)
