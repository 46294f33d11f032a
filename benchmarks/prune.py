"""A long history backed up, and pruned, while a run is at work: sizes, and how long a commit of the run is held up.

The history is the worst case for what has to stay: all of it was made private, so each snapshot leaves a stub, and of
each hundred one is uncertain. As a program, the run at work: the store's address.

    python -m benchmarks prune
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from threading import Thread
from typing import TypeVar

from benchmarks.plans import BASE_URL, LIMIT, RUN, TIMEOUT, enqueue, identities, tasks
from benchmarks.probe import ROOT
from benchmarks.row import Row, milliseconds
from orchestrator.app import forget_runs
from orchestrator.core import Lease, Settlement, Snapshot, Status, SystemClock
from orchestrator.store import Ask, Forgotten, Size, Store, back_up, open_store
from orchestrator.store.leases import End
from orchestrator.store.pruning import SOME
from tests.support.history import LongHistory

STANDARD = LongHistory()
KEPT = 400 * 86_400.0
ORGANIZATIONS, EACH = 400, LIMIT.snapshots
PAUSE = 0.005
"""Seconds between two commits of the run at work: it is no crowd, but it is never idle for long."""
ALONE = 5.0
"""Seconds for which the run is watched before anything is pruned."""

T = TypeVar("T")


@dataclass(slots=True)
class Held:
    """How many commits the run at work made, and for how long one of them took at the most (seconds)."""

    commits: int = 0
    longest: float = 0.0

    def timed(self, call: Callable[[], T]) -> T:
        """The call's answer."""
        before = time.perf_counter()
        answer = call()
        self.longest = max(self.longest, time.perf_counter() - before)
        self.commits += 1
        return answer


def rows(folder: Path, long: LongHistory = STANDARD) -> Iterator[Row]:
    """On SQLite; the store's size is that of its file."""
    url, clock = f"sqlite:///{folder}/prune.db", SystemClock()
    long.fill(url, BASE_URL, clock)
    with closing(open_store(url, clock=clock)) as store:
        enqueue(store, tasks(identities(ORGANIZATIONS), EACH), clock)
        full = store.pruning.measure()
        with subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "benchmarks.prune", url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            alone = _ask(worker, f"{ALONE}")
            log = folder / "prune.db-wal"
            before = log.stat().st_size
            backed_up, _ = _watch(worker, lambda: back_up(url, folder / "backup.db", clock))
            yield from _backup_rows(alone, backed_up, before, log.stat().st_size)
            busy, (forgotten, steps) = _watch(worker, lambda: _prune(store, clock))
        pruned, hindrance = store.pruning.measure(), store.pruning.compact()
        yield from _size_rows(long, full, pruned, store.pruning.measure(), forgotten)
    yield from _time_rows(alone, busy, steps)
    if hindrance:
        yield Row(name="not written anew", figure=hindrance)


def _watch(worker: subprocess.Popen[str], act: Callable[[], T]) -> tuple[Held, T]:
    """Do something while the run is at work: what that tells, and the answer."""
    told: list[Held] = []
    watching = Thread(target=lambda: told.append(_ask(worker, "until told")))
    watching.start()
    answer = act()
    if worker.stdin:
        worker.stdin.write("stop\n")
        worker.stdin.flush()
    watching.join()
    return told[0], answer


def _prune(store: Store, clock: SystemClock) -> tuple[Forgotten, list[float]]:
    """Prune: what was forgotten, and the processor time of each step."""
    steps: list[float] = []
    mark = [time.process_time()]

    def note() -> bool:
        now = time.process_time()
        steps.append(now - mark[0])
        mark[0] = now
        return False

    before = clock.wall() - KEPT
    old = store.pruning.find_old(before)
    return forget_runs(store, old, before, stop=note), steps


def _backup_rows(alone: Held, busy: Held, before: int, after: int) -> Iterator[Row]:
    yield Row(
        name=f"longest of {busy.commits:,} commits of the run, while a backup is taken",
        figure=milliseconds(busy.longest),
        ratio=busy.longest / alone.longest,
        to="alone",
        target="100 ms",
    )
    yield Row(
        name="the store's log after the backup",
        figure=_megabytes(after),
        ratio=after / before,
        to="before",
    )


def _size_rows(
    long: LongHistory, full: Size, pruned: Size, small: Size, forgotten: Forgotten
) -> Iterator[Row]:
    what = f"{long.runs} runs of {long.tasks:,}, pruned to 400 days"
    yield Row(name=f"{what}: size before", figure=_megabytes(full.total))
    yield Row(
        name=f"{what}: free inside, while the run is at work",
        figure=_megabytes(pruned.free),
        ratio=pruned.free / pruned.total,
        to="the file",
    )
    yield Row(
        name=f"{what}: size after, when nobody is",
        figure=_megabytes(small.total),
        ratio=small.total / full.total,
        to="before",
    )
    yield Row(
        name=f"{what}: forgotten",
        figure=f"{forgotten.runs:,} runs, {forgotten.tasks:,} snapshots ({forgotten.stubs:,} stubs, {forgotten.kept:,} stay)",
    )


def _time_rows(alone: Held, busy: Held, steps: list[float]) -> Iterator[Row]:
    yield Row(
        name=f"longest of {alone.commits:,} commits of the run, alone", figure=milliseconds(alone.longest)
    )
    yield Row(
        name=f"longest of {busy.commits:,} commits of the run, while it is pruned",
        figure=milliseconds(busy.longest),
        ratio=busy.longest / alone.longest,
        to="alone",
        target="100 ms",
    )
    yield Row(
        name=f"one of {len(steps):,} steps of {SOME} snapshots, processor time: mean and most",
        figure=f"{milliseconds(sum(steps) / len(steps))}, {milliseconds(max(steps))}",
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _ask(worker: subprocess.Popen[str], word: str) -> Held:
    """Have the run at work tell how it fares, for some seconds or until it is told."""
    if worker.stdin is None or worker.stdout is None:
        return Held()
    worker.stdin.write(f"{word}\n")
    worker.stdin.flush()
    return Held(**json.loads(worker.stdout.readline()))


# -- the run at work -----------------------------------------------------------------------------------------


def main(url: str) -> None:
    """Work for as long as each line says, and tell."""
    store, names = open_store(url, clock=SystemClock()), identities(ORGANIZATIONS)
    store.queue.serve(RUN, names)
    turns = cycle(names)
    for line in sys.stdin:
        print(json.dumps(_work(store, turns, line.strip())), flush=True)
    store.close()


def _work(store: Store, turns: Iterator[str], word: str) -> Mapping[str, float]:
    held, stopped = Held(), Thread(target=sys.stdin.readline)
    ends = time.perf_counter() + (float(word) if word[0].isdigit() else 1e9)
    if not word[0].isdigit():
        stopped.start()
    while time.perf_counter() < ends and (word[0].isdigit() or stopped.is_alive()):
        _make_one(store, next(turns), held)
    return {"commits": held.commits, "longest": held.longest}


def _make_one(store: Store, organization: str, held: Held) -> None:
    """Ask for a snapshot of an organization and make it, if there is one to be had."""
    clock = SystemClock()
    ask = Ask(
        organization=organization,
        run_id=RUN,
        limit=LIMIT,
        timeout=TIMEOUT,
        epoch=clock.wall(),
        boot=clock.boot(),
    )
    (answer,) = held.timed(lambda: store.queue.grant([ask]))
    for lease in answer.leases[:1]:
        time.sleep(PAUSE)
        held.timed(partial(store.queue.mark_sending, [lease]))
        time.sleep(PAUSE)
        held.timed(partial(store.queue.settle, [End(lease=lease, settlement=_made(lease))]))
    time.sleep(PAUSE)


def _made(lease: Lease) -> Settlement:
    snapshot = Snapshot(id=f"s{lease.task.key}", event_id="9", link="https://app.example.com/share/1")
    return Settlement(status=Status.CREATED, answered=True, http_status=201, snapshot=snapshot)


if __name__ == "__main__":
    main(*sys.argv[1:])
