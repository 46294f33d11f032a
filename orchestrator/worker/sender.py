"""The seam between the worker and the wire: sends go out side by side, their ends come back in one place.

The worker's one thread starts sends and collects what came of them; only the sends themselves run in a
pool of threads, and each calls back once, right before its first byte, to commit that it is leaving.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from http import HTTPStatus
from typing import NamedTuple, Protocol

from orchestrator.api import Answer, CatalogError, Client, ConfiguredTest, Getter, read_tests, snapshot_call
from orchestrator.core import Clock, GrantStale, Lease, Result, Task, TesnapError
from orchestrator.ratelimit import may_send
from orchestrator.worker.commits import Commit, GroupCommit

POOL_THREADS = 128
"""Requests on the wire at once: 10,000 organizations need 167 a second, at half a second each."""

PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
"""Refusals that say nothing of the next request; any other 4xx does."""

LASTING = (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
"""Server errors that another request would meet, too."""


class Sent(NamedTuple):
    """The end of one send: an answer (which may be none), or the reason why no byte left."""

    lease: Lease
    answer: Answer | None = None
    refused: TesnapError | None = None


LostAnswer = tuple[Lease, Result]
"""An attempt without an answer, and what is known of its task."""


class Looked(NamedTuple):
    """The end of one look for evidence: the account group's tests, or why they cannot be read.

    With `lasting` another look would not be answered otherwise.
    """

    lost: Sequence[LostAnswer]
    tests: tuple[ConfiguredTest, ...] = ()
    error: str | None = None
    lasting: bool = False


class Sender(Protocol):
    """Starts requests without waiting for them, and hands over what came of them.

    More than `capacity` are never under way: a grant that waits for a thread would grow stale.
    """

    capacity: int

    def send(self, lease: Lease) -> None:
        """Start one attempt."""

    def look(self, lost: Sequence[LostAnswer]) -> None:
        """Start reading an account group's tests, as evidence of what became of the lost answers of its tasks."""

    def take_ended(self) -> list[Sent | Looked]:
        """The ends of all that has ended since the last call."""

    def wait(self, seconds: float) -> None:
        """Wait until something ends or `wake` is called, at most this long (in the clock's seconds)."""

    def wake(self) -> None:
        """End a `wait` at once; may be called from a signal's handler."""

    def drain(self) -> None:
        """Let no first byte leave from now on; what is on the wire goes on."""

    def abort(self) -> None:
        """Cut what is on the wire; each send still ends, with no answer."""

    def close(self) -> None:
        """Let threads and connections go."""


def commit_first_byte(lease: Lease, clock: Clock, commit: Commit, *, stopping: bool) -> None:
    """The check and the commit right before the first byte; raises `GrantStale`, `LeaseLost` or what the commit raises.

    Checked again afterwards: the commit may have waited for a store that was busy for long.
    """
    if stopping or _stale(lease, clock):
        raise GrantStale
    (lost,) = commit([lease])
    if lost is not None:
        raise lost
    if _stale(lease, clock):
        raise GrantStale


def _stale(lease: Lease, clock: Clock) -> bool:
    return not may_send(lease.limit, lease.timeout, lease.granted_boot, clock.boot())


class PoolSender:
    """Sends over HTTP from a pool of threads; `client_of` gives the client whose credential serves a task."""

    def __init__(
        self,
        clients: Collection[Client],
        client_of: Callable[[Task], Client],
        clock: Clock,
        commit: Commit,
    ) -> None:
        self._clients, self._client_of = clients, client_of
        self._clock, self._commit, self.capacity = clock, GroupCommit(commit), POOL_THREADS
        self._ended: queue.SimpleQueue[Sent | Looked | BaseException | None] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="send")  # starts them by need
        self._ready: list[Sent | Looked] = []
        self._stopping = threading.Event()

    def send(self, lease: Lease) -> None:
        self._pool.submit(self._send, lease).add_done_callback(self._break_run)

    def look(self, lost: Sequence[LostAnswer]) -> None:
        self._pool.submit(self._look, lost).add_done_callback(self._break_run)

    def take_ended(self) -> list[Sent | Looked]:
        ended, self._ready = self._ready, []
        while not self._ended.empty():
            ended += self._unwrap(self._ended.get())
        return ended

    def wait(self, seconds: float) -> None:
        if self._ready or seconds <= 0:
            return
        with contextlib.suppress(queue.Empty):
            self._ready += self._unwrap(self._ended.get(timeout=self._clock.real(seconds)))

    def wake(self) -> None:
        self._ended.put(None)

    def drain(self) -> None:
        self._stopping.set()

    def abort(self) -> None:
        self._stopping.set()
        for client in self._clients:
            client.abort_all()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        for client in self._clients:
            client.close()

    @staticmethod
    def _unwrap(one: Sent | Looked | BaseException | None) -> list[Sent | Looked]:
        if isinstance(one, BaseException):
            raise one
        return [] if one is None else [one]

    def _break_run(self, future: Future[None]) -> None:
        """A thread that breaks must break the run: its task would never end."""
        if not future.cancelled() and (error := future.exception()) is not None:
            self._ended.put(error)

    def _send(self, lease: Lease) -> None:
        def before_first_byte() -> None:
            commit_first_byte(lease, self._clock, self._commit, stopping=self._stopping.is_set())

        call = snapshot_call(replace(lease.task, display_name=lease.task.title(lease.resends)))
        try:
            answer = self._client_of(lease.task).send(
                call, deadline=lease.granted_boot + lease.timeout, before_first_byte=before_first_byte
            )
            self._ended.put(Sent(lease=lease, answer=answer))
        except TesnapError as error:
            self._ended.put(Sent(lease=lease, refused=error))

    def _look(self, lost: Sequence[LostAnswer]) -> None:
        try:
            self._ended.put(read_evidence(self._client_of(lost[0][0].task), lost))
        except TesnapError as error:
            self._ended.put(Looked(lost=lost, error=str(error) or "no credential serves it"))


def read_evidence(getter: Getter, lost: Sequence[LostAnswer]) -> Looked:
    """Read the tests of the account group that the tasks have in common."""
    try:
        return Looked(lost=lost, tests=tuple(read_tests(getter, lost[0][0].task.account_group or None)))
    except CatalogError as error:
        lasting = error.lasting or (not error.stranger and _is_lasting(error.status))
        return Looked(lost=lost, error=str(error), lasting=lasting)


def _is_lasting(status: int | None) -> bool:
    """True if a list whose answer has this status would be answered alike later.

    A success that is no list is a page of somebody between us and the API, as a bad gateway is.
    """
    if status is None or status in PASSING or status < HTTPStatus.MULTIPLE_CHOICES:
        return False
    return status in LASTING or status < HTTPStatus.INTERNAL_SERVER_ERROR
