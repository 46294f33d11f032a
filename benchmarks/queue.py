"""The queue: what a task costs to enqueue, and what its three commits cost in short and in long queues."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.plans import LIMIT, enqueue, identities, make_one, tasks
from benchmarks.row import Row, milliseconds
from orchestrator.clock import VirtualClock
from orchestrator.stores import Store, open_store

SIZES = (1_000, 10_000, 100_000)
MANY = (10_000, 10)  # organizations, and tasks of each
CYCLES = 60
GROWTH = (1_000, 4)  # organizations, and how many tasks of each one process makes
CEILING = 10_000 * LIMIT.snapshots / LIMIT.per  # snapshots a second that the API would take
LATER = 1_000.0  # seconds between two tasks of one organization: every token is in again


def rows(folder: Path) -> Iterator[Row]:
    """On SQLite, in memory but for the last row."""
    yield from _rows("SQLite", lambda name: f"sqlite:///{folder}/queue-{name}.db", time.process_time)
    yield _grown(folder)
    yield _on_disk()


def postgres_rows(folder: Path) -> Iterator[Row]:  # noqa: ARG001 - every group has this signature
    """On a PostgreSQL server on loopback, which does not sync: elapsed time."""
    from tests.support.postgres import new_database, server

    with server() as url:
        yield from _rows("PostgreSQL", lambda name: new_database(url, f"bench_{name}"), time.perf_counter)


def _rows(kind: str, url: Callable[[str], str], timer: Callable[[], float]) -> Iterator[Row]:
    enqueued: list[float] = []
    cycles: list[float] = []
    for shape in (*((1, size) for size in SIZES), MANY):
        organizations, each = shape
        clock = VirtualClock()
        store = open_store(url(f"{organizations}_{each}"), clock=clock)
        try:
            enqueued.append(_enqueue(store, organizations, each, clock, timer) / (organizations * each))
            cycles.append(_cycle(store, identities(min(organizations, CYCLES)), clock, timer))
        finally:
            store.close()
    names = [f"{size:,} tasks" for size in SIZES] + [f"{MANY[0]:,} organizations of {MANY[1]} tasks"]
    yield from _compared(f"{kind}: enqueue one task of", names, enqueued)
    yield from _compared(f"{kind}: grant, sending, settle with", names, cycles)


def _compared(what: str, names: Sequence[str], seconds: Sequence[float]) -> Iterator[Row]:
    yield Row(name=f"{what} {names[0]}", figure=milliseconds(seconds[0]))
    for name, took in zip(names[1:], seconds[1:], strict=True):
        ratio = took / seconds[0]
        yield Row(
            name=f"{what} {name}", figure=milliseconds(took), ratio=ratio, to=names[0], target="about 1"
        )


def _enqueue(
    store: Store, organizations: int, each: int, clock: VirtualClock, timer: Callable[[], float]
) -> float:
    plan = tasks(identities(organizations), each)
    before = timer()
    enqueue(store, plan, clock)
    return timer() - before


def _cycle(
    store: Store, organizations: Sequence[str], clock: VirtualClock, timer: Callable[[], float]
) -> float:
    """The median of several tasks' three commits, the organizations taking turns."""
    took = []
    for number in range(CYCLES):
        clock.advance(LATER)
        before = timer()
        make_one(store, organizations[number % len(organizations)], clock)
        took.append(timer() - before)
    return statistics.median(took)


def _grown(folder: Path) -> Row:
    """Whether a task costs more in a process that has made many."""
    organizations, each = identities(GROWTH[0]), GROWTH[1]
    clock = VirtualClock()
    store = open_store(f"sqlite:///{folder}/queue-grown.db", clock=clock)
    try:
        _enqueue(store, GROWTH[0], each, clock, time.process_time)
        took = [_round(store, organizations, clock) for _ in range(each)]
    finally:
        store.close()
    made = GROWTH[0] * (each - 1)
    return Row(
        name=f"SQLite: the same by a process that has made {made:,} before",
        figure=milliseconds(took[-1]),
        ratio=took[-1] / took[0],
        to=f"its first {GROWTH[0]:,}",
        target="about 1",
    )


def _round(store: Store, organizations: Sequence[str], clock: VirtualClock) -> float:
    """The mean over one task of every organization."""
    clock.advance(LATER)
    before = time.process_time()
    for organization in organizations:
        make_one(store, organization, clock)
    return (time.process_time() - before) / len(organizations)


def _on_disk() -> Row:
    """Elapsed time with every commit synced to this machine's disk."""
    with TemporaryDirectory(dir=Path.cwd()) as folder:
        clock = VirtualClock()
        store = open_store(f"sqlite:///{folder}/queue.db", clock=clock)
        try:
            _enqueue(store, 1, 1_000, clock, time.perf_counter)
            elapsed = _cycle(store, identities(1), clock, time.perf_counter)
        finally:
            store.close()
    return Row(
        name="SQLite: the same with 1,000 tasks on the disk here, every commit synced, elapsed",
        figure=f"{milliseconds(elapsed)}, {1 / elapsed:.0f} a second",
        ratio=1 / elapsed / CEILING,
        to="the 167 a second, what 10,000 organizations take",
        target="above 1",
    )
