"""A worker process: the program as its command line composes it, with thin wrappers in which it dies."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import orchestrator.store.postgres  # noqa: F401 - imported once, in the process that all others are forked from
from orchestrator.api.credentials import Bearer
from orchestrator.api.transport import Connection, Pool
from orchestrator.app.make_snapshots import RunOptions, prepare, start_run
from orchestrator.app.organizations import Organizations
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import LeaseLost
from orchestrator.core.tasks import Lease, Run, Status, Task
from orchestrator.output.formats import Output
from orchestrator.output.terminal import View
from orchestrator.store.database import Database, Statement, Transaction
from orchestrator.store.grants import Ask, Grant
from orchestrator.store.leases import End
from orchestrator.store.queue import Queue
from orchestrator.store.runs import Runs
from orchestrator.store.store import Store, open_store
from orchestrator.store.uncertain import UncertainTasks
from tests.crash import ledger as noted
from tests.crash.ledger import Ledger
from tests.crash.load import Errand, jobfile, token_of
from tests.crash.points import Fate, Point

STAGE: ContextVar[Point | None] = ContextVar("stage", default=None)
"""The point that each statement of this thread passes; in all other threads none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process from its start to its end."""

    errand: Errand
    store: str
    ledger: Path
    output: Path
    seed: int
    point: Point | None = None
    passage: int = 1
    planted: str | None = None
    nice: int = 5


def live(life: Life) -> None:
    """Do the errand, and leave with the program's exit code, or without a word."""
    os.nice(life.nice)  # the simulator's clock has to be right, the workers' need not
    ledger = Ledger(life.ledger)
    fate = Fate(ledger, life.point, life.passage)
    sys.stderr = life.output.with_suffix(".err").open(
        "w"
    )  # stays open: a traceback is written at the very end
    faulthandler.register(signal.SIGUSR1, sys.stderr)  # where each thread stands, if it does not end
    with life.output.open("w") as stdout:
        code = _work(life, fate, ledger, cast("TextIO", Stdout(stdout, fate)), sys.stderr)
    sys.exit(code)


def _work(life: Life, fate: Fate, ledger: Ledger, stdout: TextIO, stderr: TextIO) -> int:
    from tests.crash.planted import planted

    clock = SystemClock()
    store = MortalStore(open_store(life.store, clock=clock), fate, ledger, planted(life.planted))
    organizations = Organizations(
        jobfile(life.errand),
        store=store,
        clock=clock,
        environ={},
        read=lambda organization: Bearer(token_of(organization.name)),
    )
    for client in organizations.clients.values():
        client._transport._way.adapter.poolmanager.pool_classes_by_scheme = {
            "http": mortal_pool(fate, life.seed)
        }
    view = View(Output(stdout=stdout, stderr=stderr, clock=clock, name_of=organizations.name_of))
    try:
        options = RunOptions(run_id=life.errand.run_id, seed=life.seed)
        return start_run(prepare(organizations, options, view), view).work().exit_code
    finally:
        organizations.close()
        store.close()


class MortalQueue(Queue):
    """The queue; before and after each step of a task's life there is a place to die."""

    def __init__(self, database: Database, fate: Fate, ledger: Ledger) -> None:
        super().__init__(database)
        self.fate, self.ledger = fate, ledger

    def grant(self, asks: Sequence[Ask]) -> list[Grant]:
        self.fate.passing(Point.BEFORE_GRANT)
        grants = super().grant(asks)
        for lease in leases_of(grants):
            self.ledger.of(lease, noted.GRANTED)
            self.fate.passing(Point.GRANTED)
        return grants

    def mark_sending(self, leases: Sequence[Lease]) -> list[LeaseLost | None]:
        for lease in leases:
            self.ledger.of(lease, noted.ASKED)
            self.fate.passing(Point.CONNECTED)
        lost = super().mark_sending(leases)
        self.note_committed(leases, lost)
        return lost

    def note_committed(self, leases: Sequence[Lease], lost: Sequence[LeaseLost | None]) -> None:
        """Each of them may leave now, if it was not lost."""
        for lease, gone in zip(leases, lost, strict=True):
            if gone is None:
                self.ledger.of(lease, noted.COMMITTED)
                self.fate.passing(Point.COMMITTED)

    def settle(self, ends: Sequence[End]) -> list[LeaseLost | None]:
        for end in ends:
            if end.settlement is not None and end.settlement.answered:
                self.fate.passing(Point.ANSWERED)
            self.ledger.of(end.lease, noted.REQUEUED if _is_queued(end) else noted.SETTLED)
        lost = super().settle(ends)
        if not all(_is_queued(end) for end in ends):
            self.fate.passing(Point.SETTLED)
        return lost

    def _take_over(self, owner: str) -> int:
        with at(Point.RECOVERING):
            return super()._take_over(owner)


def leases_of(grants: Iterable[Grant]) -> list[Lease]:
    """All that was granted."""
    return [lease for grant in grants for lease in grant.leases]


def _is_queued(end: End) -> bool:
    return end.settlement is None or end.settlement.status is Status.QUEUED


class MortalRuns(Runs):
    """The runs; in the middle of freezing a plan there is a place to die."""

    def start(self, run: Run, tasks: Iterable[Task], **how: Any) -> Run:
        with at(Point.ENQUEUING):
            return super().start(run, list(tasks), **how)


Part = type[MortalQueue] | type[MortalRuns] | type[UncertainTasks]


class MortalStore(Store):
    """The store of a process that may die; a part of it may have a bug."""

    def __init__(self, real: Store, fate: Fate, ledger: Ledger, bug: Part | None = None) -> None:
        database = cast("Database", MortalDatabase(real._database, fate))
        super().__init__(database)
        queue = bug if bug is not None and issubclass(bug, MortalQueue) else MortalQueue
        runs = bug if bug is not None and issubclass(bug, MortalRuns) else MortalRuns
        self.queue = queue(database, fate, ledger)
        self.runs = runs(database, self.queue.register)
        if bug is not None and issubclass(bug, UncertainTasks):
            self.uncertain = bug(database)


@contextlib.contextmanager
def at(point: Point | None) -> Iterator[None]:
    """Each statement in here that changes something passes this point."""
    before = STAGE.set(point)
    try:
        yield
    finally:
        STAGE.reset(before)


class MortalDatabase:
    """The database, whose transactions can break off between any two statements."""

    def __init__(self, real: Database, fate: Fate) -> None:
        self._real, self._fate = real, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        with self._real.write() as tx:
            yield cast("Transaction", MortalTransaction(tx, self._fate))


class MortalTransaction:
    """An open transaction."""

    def __init__(self, real: Transaction, fate: Fate) -> None:
        self._real, self._fate = real, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def finish(self, statements: Sequence[Statement]) -> list[int]:
        """Everything up to one of them is carried out, and nothing is committed."""
        if STAGE.get() is None:
            return self._real.finish(statements)
        return [self.change(sql, **values) for sql, values in statements]

    def change(self, sql: str, **values: object) -> int:
        touched = self._real.change(sql, **values)
        self._pass()
        return touched

    def each(self, sql: str, values: Iterable[Mapping[str, object]]) -> None:
        self._real.each(sql, values)
        self._pass()

    def _pass(self) -> None:
        point = STAGE.get()
        if point is not None:
            self._fate.passing(point)


def mortal_pool(fate: Fate, seed: int) -> type[Pool]:
    """Connections that break off in the middle of a request, or while its answer is waited for."""
    waits = random.Random(seed)

    class MortalConnection(Connection):
        def send(self, data: Any) -> None:
            if self._makes_a_snapshot() and fate.due(Point.HALF_SENT) and self.sock is not None:
                attempt = self._attempt()
                attempt.begin(self.sock, reused=self._reused)
                assert attempt.authorization is not None
                self.sock.sendall(attempt.authorization.put(data)[: len(data) // 2])
                fate.die(Point.HALF_SENT)
            super().send(data)

        def getresponse(self) -> Any:
            if self._makes_a_snapshot() and fate.due(Point.SENT):
                time.sleep(waits.uniform(0.0, 0.1))
                fate.die(Point.SENT)
            return super().getresponse()

        def _makes_a_snapshot(self) -> bool:
            """Only what makes something asks before its first byte."""
            return self.attempt is not None and self.attempt._before_first_byte is not None

    class MortalPool(Pool):
        ConnectionCls = MortalConnection

    return MortalPool


class Stdout(io.TextIOBase):
    """Standard output, on which a record can end in its middle."""

    encoding = "utf-8"

    def __init__(self, real: TextIO, fate: Fate) -> None:
        self._real, self._fate = real, fate

    def write(self, text: str) -> int:
        if '"event": "snapshot.' in text and self._fate.due(Point.PRINTING):
            self._real.write(text[: len(text) // 2])
            self._real.flush()
            self._fate.die(Point.PRINTING)
        self._real.write(text)
        self._real.flush()
        return len(text)
