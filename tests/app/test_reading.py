"""Reads reserved in the store: several commands at once keep to the limit, and many organizations are one commit."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.catalog import Query
from orchestrator.api.credentials import Bearer
from orchestrator.api.read_limit import PacedGetter
from orchestrator.api.response import Answer
from orchestrator.app.reading import AT_ONCE, MOST_ASKS, ReservedReads
from orchestrator.core.errors import StoreUnavailable
from orchestrator.ratelimit.reads import MOST_READS, PERIOD
from orchestrator.store.reads import ReadAsk, ReadGrant
from orchestrator.store.store import Store, open_store
from tests.support.clock import VirtualClock

BASE_URL = "https://api.example.com/v7"
GENERAL_LIMIT = 240
TIMEOUT = 60.0


class Planted:
    """A server that notes when it was asked; each answer takes a little."""

    base_url = BASE_URL

    def __init__(self, clock: VirtualClock) -> None:
        self.times: list[float] = []
        self._clock = clock

    def get(self, path: str, query: Query = ()) -> Answer:
        """An answer without the limit's headers: nobody has anything but the store to go by."""
        self._clock.advance(0.05)
        self.times.append(self._clock.boot())
        return Answer(sent=True, status=200, body=b"{}")

    def most_in_a_minute(self) -> int:
        """The most requests in any minute."""
        return max(at + 1 - bisect_left(self.times, one - PERIOD) for at, one in enumerate(self.times))


@pytest.mark.parametrize("org_id", ["1001", None])
def test_three_commands_at_once_keep_to_the_limit(tmp_path: Path, org_id: str | None) -> None:
    """Three processes with one token read a hundred and fifty lists each, none of them more than its share."""
    clock = VirtualClock()
    server, commands = Planted(clock), []
    for _ in range(3):
        store = open_store(str(tmp_path / "store.db"), clock=clock)
        reads = ReservedReads(store, clock, TIMEOUT)
        reader = reads.reader(BASE_URL, Bearer("secret-1").digest)
        getter = PacedGetter(server, clock, reservation=reader)
        getter.get("/account-groups")
        reader.belong_to(org_id)
        commands.append((store, reads, getter))
    for _ in range(150):
        for _, _, getter in commands:
            getter.get("/tests")
    for store, reads, _ in commands:
        reads.give_back()
        store.close()
    assert len(server.times) == 3 * 151
    assert MOST_READS - 3 * AT_ONCE <= server.most_in_a_minute() <= MOST_READS < GENERAL_LIMIT


def test_what_was_not_read_is_given_back(tmp_path: Path) -> None:
    """The next command has all but what was read."""
    clock = VirtualClock()
    with closing(open_store(str(tmp_path / "store.db"), clock=clock)) as store:
        reads = ReservedReads(store, clock, TIMEOUT)
        reader = reads.reader(BASE_URL, Bearer("secret-1").digest)
        reader.give(reader.take()[1])
        reader.belong_to("1001")
        for _ in range(3):
            reader.give(reader.take()[1])
        reads.give_back()
        ask = ReadAsk(reader=f"{BASE_URL}#id=1001", ticket="x", wanted=GENERAL_LIMIT, timeout=TIMEOUT)
        assert store.reads.reserve([ask]) == [ReadGrant(count=MOST_READS - 4)]


class Away:
    """A store that answers nothing."""

    reads: Any = None

    def __init__(self) -> None:
        self.reads = self

    def sign_of(self, *_: object) -> str:
        raise StoreUnavailable("away")

    def reserve(self, asks: Sequence[ReadAsk]) -> list[ReadGrant]:
        raise StoreUnavailable("away")


def test_without_a_store_reading_goes_on() -> None:
    """Nothing is made by a read; the API's own answers pace it as before."""
    clock = VirtualClock()
    server, away = Planted(clock), Away()
    reads = ReservedReads(away, clock, TIMEOUT)  # type: ignore[arg-type] # a store that is none
    reader = reads.reader(BASE_URL, Bearer("secret-1").digest)
    getter = PacedGetter(server, clock, reservation=reader)
    assert [getter.get("/tests").status for _ in range(5)] == [200] * 5
    reads.give_back()


class Slow:
    """A store whose first commit takes until it is let go, and that counts its commits."""

    def __init__(self, real: Store) -> None:
        self.reads, self._real = self, real
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def sign_of(self, base_url: str, digest: Any) -> str:
        return self._real.reads.sign_of(base_url, digest)

    def reserve(self, asks: Sequence[ReadAsk]) -> list[ReadGrant]:
        self.sizes.append(len(asks))
        self.begun.set()
        assert self.let_go.wait(TIMEOUT)
        return self._real.reads.reserve(asks)


def test_whoever_comes_while_a_commit_goes_on_shares_the_next_one(tmp_path: Path) -> None:
    """So many organizations at the most in each."""
    clock, others = VirtualClock(), MOST_ASKS + 5
    with closing(open_store(str(tmp_path / "store.db"), clock=clock)) as real:
        slow = Slow(real)
        reads = ReservedReads(slow, clock, TIMEOUT)  # type: ignore[arg-type] # a store that is slow
        readers = [reads.reader(BASE_URL, Bearer(f"secret-{n}").digest) for n in range(1 + others)]
        threads = [threading.Thread(target=reader.take) for reader in readers]
        threads[0].start()
        assert slow.begun.wait(TIMEOUT)
        for thread in threads[1:]:
            thread.start()
        while len(reads._questions) < others:  # they have asked, and wait for their turn
            slow.begun.wait(0.001)
        slow.let_go.set()
        for thread in threads:
            thread.join(TIMEOUT)
    assert slow.sizes == [1, MOST_ASKS, 5]
