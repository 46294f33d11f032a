"""10,000 organizations in one worker: how much of a core it needs at the API's own ceiling, and while all wait."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.echo import Echo, work, worker_of
from benchmarks.plans import LIMIT, enqueue, identities, tasks
from benchmarks.row import Row
from orchestrator.store.store import open_store
from tests.support.clock import VirtualClock

ORGANIZATIONS, EACH = 10_000, 5
LATENCY = 0.5
CEILING = ORGANIZATIONS * LIMIT.snapshots / LIMIT.per  # 167 a second
WARM = 6.0  # virtual seconds before the measuring begins: what is read again of the last seconds is there
BUSY, IDLE = 20.0, 20.0  # virtual seconds that are measured
FAR = 86_400.0
TOP = 10


def rows(folder: Path) -> Iterator[Row]:
    """CPU seconds for each virtual second: below 1 the worker keeps up."""
    cpu, sent = _measured(folder, "busy", BUSY)
    yield _row(f"sending, {sent / BUSY:.0f} snapshots a second", cpu / BUSY)
    cpu, _ = _measured(folder, "idle", IDLE, ready_in=FAR)
    yield _row("all waiting for their windows", cpu / IDLE)


def profile_rows(folder: Path) -> Iterator[Row]:
    """The functions in which the busy worker spends most, their own time as a share of all."""
    profile = cProfile.Profile()
    _measured(folder, "profiled", BUSY, under=profile.runcall)
    stats = pstats.Stats(profile)
    total: float = stats.total_tt  # type: ignore[attr-defined] # typeshed leaves it out
    functions = stats.get_stats_profile().func_profiles
    ordered = sorted(functions.items(), key=lambda item: -item[1].tottime)[:TOP]
    for name, seen in ordered:
        place = f"{Path(seen.file_name).name}:{seen.line_number} {name}, {seen.ncalls} calls"
        yield Row(name=place, figure=f"{seen.tottime:.2f} s", ratio=seen.tottime / total, to="all of it")


def _row(doing: str, share: float) -> Row:
    name = f"{ORGANIZATIONS:,} organizations of {EACH} tasks, {doing}: CPU a virtual second"
    return Row(name=name, figure=f"{share:.3f} s", ratio=share, to="one core", target="well below 1")


def _measured(
    folder: Path,
    name: str,
    seconds: float,
    *,
    ready_in: float = 0.0,
    under: Callable[..., None] = lambda act, *what, **named: act(*what, **named),
) -> tuple[float, int]:
    """CPU seconds of this process, and what was sent, within so many virtual seconds."""
    clock, organizations = VirtualClock(), identities(ORGANIZATIONS)
    store = open_store(f"sqlite:///{folder}/scale-{name}.db", clock=clock)
    ready_at = clock.wall() + ready_in if ready_in else 0.0
    run = enqueue(store, tasks(organizations, EACH, ready_at=ready_at), clock)
    sender = Echo(store, clock, latency=LATENCY, capacity=round(CEILING * LATENCY))
    worker = worker_of(store, run, organizations, clock, sender)
    worker.open()
    work(worker, sender, clock, until=clock.boot() + WARM)
    before, sent = time.process_time(), sender.sent
    under(work, worker, sender, clock, until=clock.boot() + seconds)
    cpu = time.process_time() - before
    store.close()
    return cpu, sender.sent - sent
