"""Reads that this process has reserved in the store: some at a time, and for many organizations in one commit."""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.core import Clock, StoreTrouble, identity
from orchestrator.ratelimit import USABLE
from orchestrator.store import ReadAsk, ReadGrant, Store

AT_ONCE = 10
"""Reads that are reserved at once when it is known whose they are: more than most organizations are asked for."""

MOST_ASKS = 50
"""Asks in one commit: so many, with SQLite, are some milliseconds in which nobody else grants."""


class ReservedReads:
    """The reads of one process. If the store does not take them, they go all the same: nothing is made by a read."""

    def __init__(self, store: Store, clock: Clock, timeout: float) -> None:
        self._store, self._clock, self._timeout = store, clock, timeout
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._questions: list[_Question] = []
        self._readers: list[Reader] = []

    def reader(self, base_url: str, digest: Callable[[bytes], str]) -> Reader:
        """Somebody who reads with the token of this digest."""
        reader = Reader(self, base_url, digest, self._clock, self._timeout)
        self._readers.append(reader)
        return reader

    def sign_of(self, base_url: str, digest: Callable[[bytes], str]) -> str:
        """The name in the store of whoever has this token; the address alone if the store does not answer."""
        with suppress(StoreTrouble):
            return self._store.reads.sign_of(base_url, digest)
        return base_url

    def reserve(self, asks: Sequence[ReadAsk]) -> ReadGrant:
        """The answer to the last of these asks; they are answered together with those of others that wait."""
        question = _Question(asks)
        with self._lock:
            self._questions.append(question)
        with self._turn:
            while question.grant is None:
                self._answer_some()
        return question.grant

    def give_back(self) -> None:
        """Let others have what was reserved and not used. Nothing is under way any more."""
        asks = [ask for reader in self._readers for ask in reader.finish()]
        with suppress(StoreTrouble):
            for first in range(0, len(asks), MOST_ASKS):
                self._store.reads.reserve(asks[first : first + MOST_ASKS])

    def _answer_some(self) -> None:
        with self._lock:
            some, self._questions = self._questions[:MOST_ASKS], self._questions[MOST_ASKS:]
        grants = [ReadGrant(count=question.asks[-1].wanted) for question in some]
        try:
            with suppress(StoreTrouble):
                answers = iter(self._store.reads.reserve([ask for one in some for ask in one.asks]))
                grants = [[next(answers) for _ in one.asks][-1] for one in some]
        finally:
            for question, grant in zip(some, grants, strict=True):
                question.grant = grant


@dataclass(slots=True)
class _Question:
    """Asks that one reader has at once, and the answer to the last of them."""

    asks: Sequence[ReadAsk]
    grant: ReadGrant | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    """Reads that were reserved together: how many are left, under way, and went out."""

    reader: str
    left: int
    reserved_at: float
    ticket: str
    under_way: int = 0
    used: int = 0


class Reader:
    """The reads of one organization, by the sign of its token until it is known; any number of threads may take of them."""

    def __init__(
        self,
        reads: ReservedReads,
        base_url: str,
        digest: Callable[[bytes], str],
        clock: Clock,
        timeout: float,
    ) -> None:
        self._reads, self._base_url, self._clock, self._timeout = reads, base_url, clock, timeout
        self._lock = threading.Lock()
        self._name, self._at_once = reads.sign_of(base_url, digest), 1
        self._batch: _Batch | None = None
        self._spent: list[_Batch] = []

    def belong_to(self, org_id: str | None) -> None:
        """Read on as this organization, for which everything counts that was read so far; None: nobody knows it."""
        with self._lock:
            self._at_once = AT_ONCE
            if org_id is not None:
                self._retire()
                self._name = identity(self._base_url, org_id=org_id)

    def take(self) -> tuple[float, object | None]:
        """The seconds until somebody should ask again, and no ticket; or the ticket of a read that may go now."""
        with self._lock:
            batch = self._batch
            if batch is None or not batch.left or self._clock.boot() - batch.reserved_at > USABLE:
                self._retire()
                grant = self._reserve()
                batch = self._batch
                if batch is None:
                    return grant.wait, None
            batch.left -= 1
            batch.used += 1
            batch.under_way += 1
            return 0.0, batch

    def give(self, ticket: object) -> None:
        """Say that a read is answered."""
        if isinstance(ticket, _Batch):
            with self._lock:
                ticket.under_way -= 1

    def finish(self) -> list[ReadAsk]:
        """The asks that give back whatever is left."""
        with self._lock:
            self._retire()
            return self._end_batches()

    def _reserve(self) -> ReadGrant:
        wish = ReadAsk(
            reader=self._name, ticket=secrets.token_hex(8), wanted=self._at_once, timeout=self._timeout
        )
        reserved_at = self._clock.boot()
        grant = self._reads.reserve([*self._end_batches(), wish])
        if grant.count:
            self._batch = _Batch(self._name, grant.count, reserved_at, wish.ticket)
        return grant

    def _retire(self) -> None:
        if self._batch is not None:
            self._spent.append(self._batch)
            self._batch = None

    def _end_batches(self) -> list[ReadAsk]:
        """The asks that end the batches of which all is answered; those of another name count under the present one, too."""
        ended: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for batch in self._spent:
            if not batch.under_way:
                for name in {batch.reader, self._name}:
                    ended[name].append((batch.ticket, batch.used))
        self._spent = [batch for batch in self._spent if batch.under_way]
        return [ReadAsk(reader=name, ended=tuple(tickets)) for name, tickets in ended.items()]
