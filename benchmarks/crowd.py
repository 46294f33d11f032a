"""Many processes on one store: how much is granted a second, for how long one of them waits, and what fails.

As a program, one of these processes: the store's address, the organizations' count, and its own number.

    python -m benchmarks crowd --postgres
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.plans import LIMIT, RUN, TIMEOUT, enqueue, identities, tasks
from benchmarks.probe import ROOT
from benchmarks.row import Row, milliseconds
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import StoreTrouble
from orchestrator.core.tasks import Lease, Settlement, Snapshot, Status
from orchestrator.store.grants import Ask
from orchestrator.store.leases import End
from orchestrator.store.store import Store, open_store

PROCESSES = 32
CEILING = 10_000 * LIMIT.snapshots / LIMIT.per  # snapshots a second that the API would take
ORGANIZATIONS = 400
EACH = 5
AT_ONCE = 20
"""Organizations that a process asks for in one commit."""


T = TypeVar("T")


@dataclass(slots=True)
class Told:
    """One process's account: grants, errors, and the longest that one call has taken (seconds)."""

    granted: int = 0
    errors: int = 0
    longest: float = 0.0

    def timed(self, call: Callable[[], T]) -> T | None:
        """The call's answer; None where the store failed."""
        before = time.perf_counter()
        try:
            return call()
        except StoreTrouble:
            self.errors += 1
            return None
        finally:
            self.longest = max(self.longest, time.perf_counter() - before)


def rows(folder: Path) -> Iterator[Row]:
    """On SQLite, in memory: elapsed time."""
    yield from _rows("SQLite", str(folder / "crowd.db"))


def postgres_rows(folder: Path) -> Iterator[Row]:  # noqa: ARG001 - every group has this signature
    """On a PostgreSQL server on loopback, which does not sync: elapsed time."""
    from tests.support.postgres import new_database, server

    with server() as url:
        yield from _rows("PostgreSQL", new_database(url, "crowd"))


def _rows(kind: str, store: str) -> Iterator[Row]:
    elapsed, told = _measure(store, PROCESSES)
    granted, errors = sum(one.granted for one in told), sum(one.errors for one in told)
    what = f"{kind}: {PROCESSES} processes at {ORGANIZATIONS} organizations"
    yield Row(
        name=f"{what}: tasks from grant to end",
        figure=f"{granted / elapsed:.0f} a second",
        ratio=granted / elapsed / CEILING,
        to="the 167 a second, what 10,000 organizations take",
        target="above 1",
    )
    longest = max(one.longest for one in told)
    yield Row(name=f"{what}: longest wait for one commit", figure=milliseconds(longest))
    yield Row(name=f"{what}: errors", figure=str(errors), target="0")
    fewest, most = (act(one.granted for one in told) for act in (min, max))
    yield Row(
        name=f"{what}: tasks of the process with the fewest and with the most", figure=f"{fewest}, {most}"
    )


def _measure(store: str, processes: int) -> tuple[float, Sequence[Told]]:
    """The seconds that it takes so many processes to make all tasks, and what each of them tells."""
    clock, names = SystemClock(), identities(ORGANIZATIONS)
    opened = open_store(store, clock=clock)
    enqueue(opened, tasks(names, EACH), clock)
    command = [sys.executable, "-m", "benchmarks.crowd", store]
    crowd = [
        subprocess.Popen(  # noqa: S603 - ourselves
            [*command, str(number)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(processes)
    ]
    for one in crowd:
        _read(one)
    before = time.perf_counter()
    for one in crowd:
        _begin(one)
    told = [Told(**json.loads(_read(one))) for one in crowd]
    elapsed = time.perf_counter() - before
    for one in crowd:
        one.communicate("")
    opened.close()
    return elapsed, told


def _read(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline() if process.stdout else ""


def _begin(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.write("go\n")
        process.stdin.flush()


def main(store: str, number: str) -> None:
    """Make what is left, beginning at another organization than the others do; then tell."""
    opened, names = open_store(store, clock=SystemClock()), identities(ORGANIZATIONS)
    opened.queue.serve(RUN, names)
    first = int(number) * ORGANIZATIONS // PROCESSES
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(_dump(_make_all(opened, [*names[first:], *names[:first]]))), flush=True)
    sys.stdin.read()
    opened.close()


def _dump(told: Told) -> dict[str, float]:
    return {"granted": told.granted, "errors": told.errors, "longest": told.longest}


def _make_all(store: Store, names: list[str]) -> Told:
    """Ask for some organizations after the others, until nothing is to be had any more."""
    told, left = Told(), names
    while left:
        some, left = left[:AT_ONCE], left[AT_ONCE:]
        left += _make_some(store, some, told)
    return told


def _make_some(store: Store, some: list[str], told: Told) -> list[str]:
    """Make one task of each of these; those that are to be asked for again."""
    answers = told.timed(lambda: store.queue.grant([_ask(name) for name in some]))
    if answers is None:
        return some
    leases = [lease for answer in answers for lease in answer.leases]
    told.timed(lambda: store.queue.mark_sending(leases))
    told.timed(lambda: store.queue.settle([End(lease=lease, settlement=_made(lease)) for lease in leases]))
    told.granted += len(leases)
    return [name for name, answer in zip(some, answers, strict=True) if not answer.reached or answer.leases]


def _ask(organization: str) -> Ask:
    clock = SystemClock()
    return Ask(
        organization=organization,
        run_id=RUN,
        limit=LIMIT,
        timeout=TIMEOUT,
        epoch=clock.wall(),
        boot=clock.boot(),
    )


def _made(lease: Lease) -> Settlement:
    snapshot = Snapshot(id=f"s{lease.task.key}", event_id="9", link="https://app.example.com/share/1")
    return Settlement(status=Status.CREATED, answered=True, http_status=201, snapshot=snapshot)


if __name__ == "__main__":
    main(*sys.argv[1:])
