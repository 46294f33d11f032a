"""A store in virtual time, and short words for what the tests do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import LiteralString

import psycopg

from orchestrator.core.jobs import Limit, Priority, Window
from orchestrator.core.tasks import Lease, Run, Settlement, Snapshot, Status, Task
from orchestrator.ratelimit.bucket import Wait
from orchestrator.store.grants import Ask
from orchestrator.store.store import Store, open_store
from tests.support.clock import VirtualClock
from tests.support.single import grant, mark_sending, settle

BASE_URL = "https://api.example.com/v7"
LIMIT = Limit()
TIMEOUT = 60.0
SESSIONS: LiteralString = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tesnap'"
GONE_WITHIN = 60_000
"""Looks, a millisecond apart at the least, until a session that has not ended is a failure."""


class World:
    """The machine a store lives on: its clock, and processes that open the store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = VirtualClock()
        self._opened: list[Store] = []
        self.store = self.open()

    def open(self) -> Store:
        """Another process's store."""
        store = open_store(self.url, clock=self.clock)
        self._opened.append(store)
        return store

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def crash(self, store: Store) -> None:
        """End a process without a word: its locks go, and nothing else."""
        store._database.close()
        self._gone(store)

    def end(self, store: Store) -> None:
        """End a process in good order."""
        store.close()
        self._gone(store)

    def _gone(self, store: Store) -> None:
        self._opened.remove(store)

    def close(self) -> None:
        for store in self._opened:
            store.close()

    # -- short words -----------------------------------------------------------------------------------
    def begin(self, count: int = 12, *, run: str = "r1", **fields: object) -> str:
        """A run of some tasks of one organization, served by `store`; its identity."""
        identity = self.store.organizations.join(BASE_URL, "acme", None)
        self.store.runs.start(Run(id=run, job="nightly"), self.tasks(count, identity, **fields))
        self.store.queue.serve(run, [identity])
        return identity

    def tasks(self, count: int, identity: str, **fields: object) -> list[Task]:
        return [task(number, identity, **fields) for number in range(count)]

    def ask(self, identity: str, run: str = "r1", **fields: object) -> Ask:
        epoch, boot = self.store.epoch(), self.clock.boot()
        plain = Ask(organization=identity, run_id=run, limit=LIMIT, timeout=TIMEOUT, epoch=epoch, boot=boot)
        return replace(plain, **fields)  # type: ignore[arg-type] # a test's own fields

    def lease(self, identity: str, run: str = "r1", store: Store | None = None, **fields: object) -> Lease:
        """A grant that has to be there."""
        granted = grant(store or self.store, self.ask(identity, run, **fields))
        assert isinstance(granted, Lease), granted
        return granted

    def wait(self, identity: str, run: str = "r1", store: Store | None = None, **fields: object) -> Wait:
        """A wait that has to be there."""
        granted = grant(store or self.store, self.ask(identity, run, **fields))
        assert isinstance(granted, Wait), granted
        return granted

    def sent(self, identity: str, run: str = "r1", store: Store | None = None) -> Lease:
        """A lease whose first byte has left."""
        lease = self.lease(identity, run, store)
        mark_sending(store or self.store, lease)
        return lease

    def make(self, identity: str, run: str = "r1", store: Store | None = None) -> Lease:
        """One snapshot, made in no time."""
        lease = self.sent(identity, run, store)
        settle(store or self.store, lease, created(lease))
        return lease

    def states(self, run: str = "r1") -> list[Status]:
        return [result.status for result in self.store.views.results(run)]


class SqliteWorld(World):
    """A machine with a SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"sqlite:///{path}")


class PostgresWorld(World):
    """A database whose clock is a row of a table, that goes with the virtual one."""

    def __init__(self, url: str) -> None:
        self._side = psycopg.connect(url, autocommit=True)
        self._side.execute("DROP SCHEMA IF EXISTS tesnap CASCADE")
        super().__init__(url)
        self._side.execute("CREATE TABLE tesnap.virtual_clock (now DOUBLE PRECISION NOT NULL)")
        self._side.execute("INSERT INTO tesnap.virtual_clock VALUES (%s)", [self.clock.wall()])
        self._side.execute(
            "CREATE OR REPLACE FUNCTION tesnap.tesnap_now() RETURNS DOUBLE PRECISION LANGUAGE sql VOLATILE "
            "AS 'SELECT now FROM tesnap.virtual_clock'"
        )

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._side.execute("UPDATE tesnap.virtual_clock SET now = now + %s", [seconds])

    def step(self, seconds: float) -> None:
        """Set the database's clock, and nobody else's."""
        self._side.execute("UPDATE tesnap.virtual_clock SET now = now + %s", [seconds])

    def cut(self) -> None:
        """The server ends all sessions of tesnap, as a restart does."""
        self._side.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'tesnap'"
        )

    def close(self) -> None:
        super().close()
        self._side.close()

    def _gone(self, store: Store) -> None:
        super()._gone(store)
        self.gone()

    def gone(self) -> None:
        """Wait until the server has noticed that a session has ended, a moment later; a minute at the most."""
        self._wait_until_at_most(len(self._opened), SESSIONS)

    def rolled_back(self) -> None:
        """Wait until the server has given up what a cut session had begun, and its locks; a minute at the most."""
        self._wait_until_at_most(0, SESSIONS + " AND xact_start IS NOT NULL")

    def _wait_until_at_most(self, most: int, sessions: LiteralString) -> None:
        for _ in range(GONE_WITHIN):
            if self._side.execute(sessions).fetchone() <= (most,):  # type: ignore[operator] # a row of one
                return
            self._side.execute("SELECT pg_sleep(0.001)")
        raise AssertionError(f"after a minute more than {most} are left: {sessions}")


def task(number: int, identity: str, **fields: object) -> Task:
    plain = Task(
        organization=identity,
        organization_name="acme",
        account_group="1",
        test_id=str(number),
        window=Window(start=0, end=3600),
        is_public=False,
        display_name="x [{key}]",
        job_name="checkout",
        position=number,
    )
    return replace(plain, **fields)  # type: ignore[arg-type] # a test's own fields


def created(lease: Lease, **fields: object) -> Settlement:
    snapshot = Snapshot(id=f"s{lease.task.test_id}", event_id=f"e{lease.task.test_id}", link="https://x/")
    plain = Settlement(status=Status.CREATED, answered=True, http_status=201, snapshot=snapshot)
    return replace(plain, **fields)  # type: ignore[arg-type] # a test's own fields


def queued(**fields: object) -> Settlement:
    return replace(Settlement(status=Status.QUEUED, answered=False), **fields)  # type: ignore[arg-type] # same


UNCERTAIN = Settlement(status=Status.UNCERTAIN, answered=False)
FAILED = Settlement(status=Status.FAILED, answered=True, http_status=400)


def priorities(identity: str, *classes: Priority) -> Sequence[Task]:
    """One task of each class, other tests for each call."""
    return [
        task(100 * priority + i, identity, priority=priority, position=i)
        for i, priority in enumerate(classes)
    ]
