"""Whether a worker's memory grows with its queue, and from the start of a run to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from benchmarks.echo import Echo, work, worker_of
from benchmarks.plans import RUN, enqueue, identities, tasks
from benchmarks.probe import measured, peak_memory, present_memory
from benchmarks.row import Row
from orchestrator.output.formats import Output
from orchestrator.output.terminal import View
from orchestrator.store.store import open_store
from tests.support.clock import VirtualClock

SIZES = (1_000, 10_000, 100_000)
SECONDS = 6_000.0  # of virtual time: 100 snapshots

ORGANIZATIONS, EACH = 100, 100
"""Of the run that is made from its start to its end."""


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

    yield from _whole_run_rows(folder)


def _whole_run_rows(folder: Path) -> Iterator[Row]:
    """A run from its start to its end, records and all, and the same after a tenth of it."""
    tenth, end = (_measure_run(folder, share) for share in (0.1, 1.0))
    name = f"run of {ORGANIZATIONS * EACH:,} snapshots, records into a file, memory"
    yield Row(name=f"{name} after a tenth", figure=_megabytes(tenth))
    yield Row(
        name=f"{name} at its end",
        figure=_megabytes(end),
        ratio=end / tenth,
        to="after a tenth",
        target="about 1",
    )


def _measure_run(folder: Path, share: float) -> float:
    url, clock = f"sqlite:///{folder}/run-{share}.db", VirtualClock()
    store = open_store(url, clock=clock)
    enqueue(store, tasks(identities(ORGANIZATIONS), EACH), clock)
    store.close()
    return measured("memory.run", url, share)


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


def probe_run(url: str, share: str) -> float:
    """Memory of a process that has made so much of a run, with its records written into a file."""
    clock, wanted = VirtualClock(), int(ORGANIZATIONS * EACH * float(share))
    store = open_store(url, clock=clock)
    sender = Echo(store, clock, latency=0.5, capacity=128)
    with TemporaryFile("w") as records, TemporaryFile("w") as said:
        view = View(Output(stdout=records, stderr=said, clock=clock))
        run = store.views.find_run(RUN)
        worker = worker_of(store, run, identities(ORGANIZATIONS), clock, sender, observer=view)
        worker.open()
        while sender.sent < wanted and (wake := worker.step()) is not None:
            sender.wait(wake - clock.boot())
        memory = present_memory()
    store.close()
    if sender.sent < wanted:
        raise RuntimeError(f"only {sender.sent} snapshots were made")
    return memory
