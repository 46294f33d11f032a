"""`python -m benchmarks [--postgres] [--profile] [name ...]`: the rows as a Markdown table, group by group."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import customers, jobfile, makespan, memory, queue, scale, startup
from benchmarks.row import HEADING, Row

GROUPS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "startup": startup.rows,
    "customers": customers.rows,
    "jobfile": jobfile.rows,
    "queue": queue.rows,
    "memory": memory.rows,
    "makespan": makespan.rows,
    "scale": scale.rows,
}
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it


def main() -> None:
    """Measure the groups that are named, or all of them."""
    wanted = _arguments()
    groups = {name: GROUPS[name] for name in wanted.groups or GROUPS}
    if wanted.postgres:
        groups["queue on PostgreSQL"] = queue.postgres_rows
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
    parser.add_argument("groups", nargs="*", metavar="name", help=f"only these of {', '.join(GROUPS)}")
    parser.add_argument("--postgres", action="store_true", help="the queue on a PostgreSQL server too")
    parser.add_argument("--profile", action="store_true", help="only the functions that cost most at scale")
    wanted = parser.parse_args()
    for name in wanted.groups:
        if name not in GROUPS:
            parser.error(f"there is no group {name!r}: there are {', '.join(GROUPS)}")
    return wanted


if __name__ == "__main__":
    main()
