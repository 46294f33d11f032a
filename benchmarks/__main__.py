"""`python -m benchmarks [name ...]`: the rows as a Markdown table, group by group."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import (
    crowd,
    customers,
    history,
    jobfile,
    long_plans,
    makespan,
    memory,
    night,
    prune,
    queue,
    record,
    relay,
    scale,
    startup,
    whole,
)
from benchmarks.row import HEADING, Row

GROUPS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "startup": startup.rows,
    "customers": customers.rows,
    "jobfile": jobfile.rows,
    "record": record.rows,
    "queue": queue.rows,
    "memory": memory.rows,
    "long_plans": long_plans.rows,
    "makespan": makespan.rows,
    "scale": scale.rows,
    "crowd": crowd.rows,
    "whole": whole.rows,
}
ON_REQUEST: dict[str, Callable[[Path], Iterator[Row]]] = {
    "history": history.rows,
    "night": night.rows,
    "prune": prune.rows,
    "relay": relay.rows,
}
"""Groups that are measured where they are named: they take minutes, or a PostgreSQL server."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it


def main() -> None:
    """Measure the groups that are named, or all of them."""
    wanted = _arguments()
    groups = {name: (GROUPS | ON_REQUEST)[name] for name in wanted.groups or GROUPS}
    if "long_plans" in groups and wanted.organizations:
        groups["long_plans"] = partial(long_plans.rows, organizations=wanted.organizations[0])
    if "whole" in groups:
        groups["whole"] = partial(whole.rows, sizes=_sizes(wanted, whole.STANDARD))
    if "night" in groups:
        groups["night"] = partial(night.rows, sizes=_sizes(wanted, night.NIGHT))
    if wanted.postgres:
        groups["queue on PostgreSQL"] = queue.postgres_rows
        groups["crowd on PostgreSQL"] = crowd.postgres_rows
    if wanted.profile:
        groups = {"where the time goes": scale.profile_rows}
    sys.stdout.write(HEADING)
    # Without a disk below the store, what is measured is the program and not the machine's disk.
    with TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        for measure in groups.values():
            for row in measure(Path(folder)):
                sys.stdout.write(f"{row}\n")
                sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "groups", nargs="*", metavar="name", help=f"only these of {', '.join(GROUPS | ON_REQUEST)}"
    )
    parser.add_argument(
        "--postgres",
        action="store_true",
        help="the queue, and a crowd of processes, on a PostgreSQL server too",
    )
    parser.add_argument("--profile", action="store_true", help="only the functions that cost most at scale")
    parser.add_argument(
        "--organizations",
        type=int,
        nargs="+",
        help="whole, night: run with so many organizations, one run after the other; long_plans: the first of them",
    )
    parser.add_argument(
        "--tasks", type=int, help="whole, night: snapshots of each organization; whole: at least 2"
    )
    parser.add_argument("--latency", type=float, help="whole, night: of the server, in seconds")
    parser.add_argument(
        "--per", type=float, help="whole: the limit's period in seconds; all together 167 a second"
    )
    wanted = parser.parse_args()
    for name in wanted.groups:
        if name not in GROUPS | ON_REQUEST:
            parser.error(f"there is no group {name!r}: there are {', '.join(GROUPS | ON_REQUEST)}")
    return wanted


def _sizes(wanted: argparse.Namespace, usual: whole.Sizes) -> whole.Sizes:
    named = ((field.name, getattr(wanted, field.name, None)) for field in fields(whole.Sizes))
    return replace(usual, **{name: value for name, value in named if value is not None})


if __name__ == "__main__":
    main()
