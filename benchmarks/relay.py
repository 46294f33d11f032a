"""The whole command against a PostgreSQL server that is a millisecond away: how much one process makes.

What it waits for is counted too: round trips, each of which costs a millisecond here and hold everywhere.

    python -m benchmarks relay
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.row import Row, milliseconds
from benchmarks.server import Settings, served
from benchmarks.whole import CEILING, SLOTS, STANDARD, Spent, run_tesnap
from tests.support.incident import install

ORGANIZATIONS, FEW, MANY = 200, 5, 25
"""Organizations, and tasks of each the first and the second time."""

ONE_WAY = 0.0005
"""Seconds that each way takes longer: a round trip to another data centre of the same region."""

FASTER = 2
"""The limit would let so many times the API's ceiling through, so that it is not what is measured."""


def rows(folder: Path) -> Iterator[Row]:
    """Between two sizes, so that a start counts for nothing; elapsed time but for the last two rows."""
    from tests.support.postgres import server

    settings = Settings(tests=MANY, latency=STANDARD.latency, spread=STANDARD.latency / 2)
    with TemporaryDirectory(dir=folder) as place, server() as url, served(settings) as origin:
        home = install(Path(place))
        (few, few_trips), (many, many_trips) = (_measure(home, origin, url, each) for each in (FEW, MANY))
    made = ORGANIZATIONS * (MANY - FEW)
    name = f"`tesnap run`, {ORGANIZATIONS} organizations, PostgreSQL 1 ms away"
    rate, cpu = made / (many.elapsed - few.elapsed), (many.cpu - few.cpu) / made
    yield Row(
        name=f"{name}: snapshots a second",
        figure=f"{rate:.0f}",
        ratio=rate / CEILING,
        to="the 167 a second, what 10,000 organizations take",
        target="above 1",
    )
    trips = (many_trips - few_trips) / made
    yield Row(name=f"{name}: round trips for each", figure=f"{trips:.2f}", target="4")
    yield Row(name=f"{name}: CPU for each", figure=milliseconds(cpu))


def _measure(home: Path, origin: str, url: str, each: int) -> tuple[Spent, int]:
    """What a run of so many tasks of each organization takes, and its round trips, the start's among them."""
    from tests.support.postgres import new_database
    from tests.support.relay import Relay

    sizes = replace(STANDARD, per=ORGANIZATIONS * SLOTS / CEILING / FASTER)
    with Relay(new_database(url, f"relay_{each}"), delay=ONE_WAY) as relay:
        spent = run_tesnap(home, origin, ORGANIZATIONS, each, sizes, store=relay.url)
        return spent, relay.trips
