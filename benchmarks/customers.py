"""How long one run over a folder of three hundred customers takes, against the same waiting done one by one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import Row
from orchestrator.simulator import Simulator, serve
from tests.support.customers import CUSTOMERS, ENVIRON, world, write_files
from tests.support.incident import install, start

LATENCY = 0.020


def rows(folder: Path) -> Iterator[Row]:
    """The command as a process, from an empty store to its last record."""
    place = folder / "customers"
    place.mkdir()
    simulator = Simulator(world(), latency=(LATENCY, 0.010))
    with serve(simulator) as url:
        jobs = write_files(place, simulator.world, url)
        started = start(install(place), "run", str(jobs), "--json", environ=ENVIRON)
    took, requests = started.lines[-1][0], len(simulator.log)
    yield Row(
        name=f"`tesnap run` of {CUSTOMERS} customers, {requests} requests",
        figure=f"{took:.1f} s",
        ratio=took / (requests * LATENCY),
        to=f"{LATENCY * 1000:.0f} ms of latency each, one after the other",
    )
