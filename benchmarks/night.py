"""A whole night of many organizations at the API's own limit: over HTTP, records in a file, the store on disk.

The server counts as ThousandEyes does, 5 in 300 seconds for each organization, and says how often it refused.

    python -m benchmarks night --organizations 10000 --tasks 10      # about eleven minutes
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.row import Row
from benchmarks.server import Settings, counted, served
from benchmarks.whole import CEILING, SLOTS, STANDARD, Sizes, run_tesnap
from tests.support.incident import install

PERIOD = 300.0  # of the API's limit, in seconds
GUARD = 1.0  # what a token stays away longer than that: the program's default
NIGHT = replace(STANDARD, organizations=(10_000,), per=PERIOD, guard=GUARD)


def rows(folder: Path, sizes: Sizes = NIGHT) -> Iterator[Row]:  # noqa: ARG001 - the store is on disk here, not in memory
    """One run for each number of organizations."""
    for organizations in sizes.organizations:
        yield from _rows_of(organizations, replace(sizes, per=PERIOD, guard=GUARD))


def _rows_of(organizations: int, sizes: Sizes) -> Iterator[Row]:
    settings = Settings(
        tests=sizes.tasks, latency=sizes.latency, spread=sizes.latency / 2, limit=SLOTS, per=PERIOD
    )
    with TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as disk, served(settings) as origin:
        spent = run_tesnap(install(Path(disk)), origin, organizations, sizes.tasks, sizes)
        count = counted(origin)
    name = (
        f"a night of {organizations:,} organizations of {sizes.tasks}, {count.created:,} made, start included"
    )
    yield Row(name=f"{name}: refused", figure=f"{count.refused}", target="0")
    yield Row(
        name=f"{name}: elapsed",
        figure=f"{spent.elapsed:.0f} s",
        ratio=spent.elapsed / bound(organizations, sizes.tasks),
        to="the larger of the limit's bound and tasks / 167 a second",
        target="1.1",
    )
    yield Row(
        name=f"{name}: CPU",
        figure=f"{spent.cpu:.0f} s in {spent.elapsed:.0f} s",
        ratio=spent.cpu / spent.elapsed,
        to="one core",
        target="0.6",
    )
    yield Row(name=f"{name}: peak memory", figure=f"{spent.memory / 1e6:.0f} MB", target="300 MB")


def bound(organizations: int, tasks: int) -> float:
    """The least seconds that so many tasks of each organization can take."""
    return max((math.ceil(tasks / SLOTS) - 1) * (PERIOD + GUARD), organizations * tasks / CEILING)
