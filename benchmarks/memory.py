"""Whether a worker's memory grows with its queue: the same number of snapshots out of short and long ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.echo import Echo, work, worker_of
from benchmarks.plans import RUN, enqueue, identities, tasks
from benchmarks.probe import measured, peak_memory
from benchmarks.row import Row
from orchestrator.store.store import open_store
from tests.support.clock import VirtualClock

SIZES = (1_000, 10_000, 100_000)
SECONDS = 6_000.0  # of virtual time: 100 snapshots


def rows(folder: Path) -> Iterator[Row]:
    """A process that resumes the run, over each queue."""
    peaks = [_peak(folder, size) for size in SIZES]
    yield Row(name=f"worker over {SIZES[0]:,} queued tasks, peak memory", figure=_megabytes(peaks[0]))
    for size, peak in zip(SIZES[1:], peaks[1:], strict=True):
        yield Row(
            name=f"worker over {size:,} queued tasks, peak memory",
            figure=_megabytes(peak),
            ratio=peak / peaks[0],
            to=f"{SIZES[0]:,} tasks",
            target="does not grow with the queue",
        )


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _peak(folder: Path, count: int) -> float:
    url, clock = f"sqlite:///{folder}/memory-{count}.db", VirtualClock()
    store = open_store(url, clock=clock)
    enqueue(store, tasks(identities(1), count), clock)
    store.close()
    return measured("memory.worker", url)


def probe_worker(url: str) -> float:
    """Peak memory of a worker that makes some of a run's snapshots."""
    clock = VirtualClock()
    store = open_store(url, clock=clock)
    sender = Echo(store, clock, latency=0.5, capacity=128)
    worker = worker_of(store, store.views.find_run(RUN), identities(1), clock, sender)
    worker.open()
    work(worker, sender, clock, until=clock.boot() + SECONDS)
    if sender.sent < 90:
        raise RuntimeError(f"only {sender.sent} snapshots were made")
    store.close()
    return peak_memory()
