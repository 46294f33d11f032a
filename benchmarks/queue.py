"""The queue: the cost of enqueuing a task, and of its three commits in short and in long queues."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.plans import LIMIT, enqueue, identities, make_one, tasks
from benchmarks.row import Row, milliseconds
from tests.store.world import PostgresWorld, SqliteWorld, World

SIZES = (1_000, 10_000, 100_000)
MANY = (10_000, 10)  # organizations, and tasks of each
CYCLES = 60
GROWTH = (1_000, 4)  # organizations, and how many tasks of each one process makes
CEILING = 10_000 * LIMIT.snapshots / LIMIT.per  # snapshots a second that the API would take
LATER = 1_000.0  # seconds between two tasks of one organization: every token is in again


def rows(folder: Path) -> Iterator[Row]:
    """On SQLite, in memory but for the last row."""
    yield from _rows("SQLite", lambda name: SqliteWorld(folder / f"queue-{name}.db"), time.process_time)
    yield _growth_row(folder)
    yield _disk_row()


def postgres_rows(folder: Path) -> Iterator[Row]:  # noqa: ARG001 - every group has this signature
    """On a PostgreSQL server on loopback, which does not sync: elapsed time."""
    from tests.support.postgres import new_database, server

    with server() as url:
        yield from _rows(
            "PostgreSQL", lambda name: PostgresWorld(new_database(url, f"bench_{name}")), time.perf_counter
        )


def _rows(kind: str, world_of: Callable[[str], World], timer: Callable[[], float]) -> Iterator[Row]:
    enqueued: list[float] = []
    cycles: list[float] = []
    for shape in (*((1, size) for size in SIZES), MANY):
        organizations, each = shape
        world = world_of(f"{organizations}_{each}")
        try:
            enqueued.append(_enqueue(world, organizations, each, timer) / (organizations * each))
            cycles.append(_cycle(world, identities(min(organizations, CYCLES)), timer))
        finally:
            world.close()
    names = [f"{size:,} tasks" for size in SIZES] + [f"{MANY[0]:,} organizations of {MANY[1]} tasks"]
    yield from _compare(f"{kind}: enqueue one task of", names, enqueued)
    yield from _compare(f"{kind}: grant, sending, settle with", names, cycles)


def _compare(what: str, names: Sequence[str], seconds: Sequence[float]) -> Iterator[Row]:
    yield Row(name=f"{what} {names[0]}", figure=milliseconds(seconds[0]))
    for name, took in zip(names[1:], seconds[1:], strict=True):
        ratio = took / seconds[0]
        yield Row(
            name=f"{what} {name}", figure=milliseconds(took), ratio=ratio, to=names[0], target="about 1"
        )


def _enqueue(world: World, organizations: int, each: int, timer: Callable[[], float]) -> float:
    plan = tasks(identities(organizations), each)
    before = timer()
    enqueue(world.store, plan, world.clock)
    return timer() - before


def _cycle(world: World, organizations: Sequence[str], timer: Callable[[], float]) -> float:
    """The median of several tasks' three commits, the organizations taking turns."""
    took = []
    for number in range(CYCLES):
        world.advance(LATER)
        before = timer()
        make_one(world.store, organizations[number % len(organizations)], world.clock)
        took.append(timer() - before)
    return statistics.median(took)


def _growth_row(folder: Path) -> Row:
    """A task's cost in a process that has made many, compared with its first ones."""
    organizations, each = identities(GROWTH[0]), GROWTH[1]
    world = SqliteWorld(folder / "queue-grown.db")
    try:
        _enqueue(world, GROWTH[0], each, time.process_time)
        took = [_round(world, organizations) for _ in range(each)]
    finally:
        world.close()
    made = GROWTH[0] * (each - 1)
    return Row(
        name=f"SQLite: the same by a process that has made {made:,} before",
        figure=milliseconds(took[-1]),
        ratio=took[-1] / took[0],
        to=f"its first {GROWTH[0]:,}",
        target="about 1",
    )


def _round(world: World, organizations: Sequence[str]) -> float:
    """The mean over one task of every organization."""
    world.advance(LATER)
    before = time.process_time()
    for organization in organizations:
        make_one(world.store, organization, world.clock)
    return (time.process_time() - before) / len(organizations)


def _disk_row() -> Row:
    """Elapsed time with every commit synced to this machine's disk."""
    with TemporaryDirectory(dir=Path.cwd()) as folder:
        world = SqliteWorld(Path(folder) / "queue.db")
        try:
            _enqueue(world, 1, 1_000, time.perf_counter)
            elapsed = _cycle(world, identities(1), time.perf_counter)
        finally:
            world.close()
    return Row(
        name="SQLite: the same with 1,000 tasks on the disk here, every commit synced, elapsed",
        figure=f"{milliseconds(elapsed)}, {1 / elapsed:.0f} a second",
        ratio=1 / elapsed / CEILING,
        to="the 167 a second, what 10,000 organizations take",
        target="above 1",
    )
