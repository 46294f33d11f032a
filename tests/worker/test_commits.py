"""Commits that threads share. The threads are real ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.core.errors import GrantStale, LeaseLost, StoreUnavailable, TesnapError
from orchestrator.core.tasks import Lease
from orchestrator.worker.commits import MOST_IN_A_COMMIT, GroupCommit
from orchestrator.worker.sender import commit_first_byte
from tests.support.clock import VirtualClock
from tests.support.reports import task


def lease(number: int, *, boot: float = 0.0) -> Lease:
    return Lease(
        task=task(number), run_id="r", owner="o", attempt=1, token=0, granted_at=0.0, granted_boot=boot
    )


class Book:
    """A store's side of the commits: the first one waits until `crowd` more leases wait for theirs."""

    def __init__(self, crowd: int, *, lost: frozenset[int] = frozenset(), fails: int | None = None) -> None:
        self.crowd, self.lost, self.fails = crowd, lost, fails
        self.commits: list[list[int]] = []
        self.group = GroupCommit(self._commit)

    def _commit(self, leases: Sequence[Lease]) -> list[LeaseLost | None]:
        self.commits.append([one.task.position for one in leases])
        if len(self.commits) == 1:
            wait_until(lambda: len(self.group) == self.crowd)
        if self.fails in self.commits[-1]:
            raise StoreUnavailable("away")
        return [
            LeaseLost(str(one.task.position)) if one.task.position in self.lost else None for one in leases
        ]

    def outcomes(self) -> list[LeaseLost | TesnapError | None]:
        """Each lease's own outcome: of one that comes first, and of all the others, each in a thread of its own."""
        with ThreadPoolExecutor(self.crowd + 1) as pool:
            told = [pool.submit(self._outcome, 0)]
            wait_until(lambda: bool(self.commits))
            told += [pool.submit(self._outcome, number) for number in range(1, self.crowd + 1)]
            return [one.result() for one in told]

    def _outcome(self, number: int) -> LeaseLost | TesnapError | None:
        try:
            (word,) = self.group([lease(number)])
        except TesnapError as error:
            return error
        return word


def wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        os.sched_yield()


def test_the_first_commits_alone_and_all_that_came_meanwhile_share_the_next_commit() -> None:
    """Nobody waits for a commit that would come later anyway."""
    book = Book(7)
    assert book.outcomes() == [None] * 8
    assert [len(commit) for commit in book.commits] == [1, 7]


def test_no_commit_has_more_leases_than_one_may_have() -> None:
    """Others wait for the locks that it holds."""
    book = Book(MOST_IN_A_COMMIT + 3)
    book.outcomes()
    assert [len(commit) for commit in book.commits] == [1, MOST_IN_A_COMMIT, 3]


def test_a_lost_lease_is_told_to_the_thread_that_asked() -> None:
    """And to no other one of the same commit."""
    outcomes = Book(5, lost=frozenset({3})).outcomes()
    assert [number for number, word in enumerate(outcomes) if word is not None] == [3]
    assert isinstance(outcomes[3], LeaseLost)


def test_a_failure_of_the_store_reaches_all_of_its_commit_and_no_other() -> None:
    """Each as an error of its own: a traceback belongs to one thread."""
    first, *others = Book(4, fails=4).outcomes()
    assert first is None
    assert [type(error) for error in others] == [StoreUnavailable] * 4
    assert len({id(error) for error in others}) == 4


def test_the_age_of_a_grant_is_looked_at_after_its_commit() -> None:
    """The thread may have waited for others' commits."""
    clock = VirtualClock()
    old = lease(1, boot=clock.boot())

    def commit(leases: Sequence[Lease]) -> list[LeaseLost | None]:
        clock.advance(60.0)
        return [None for _ in leases]

    with pytest.raises(GrantStale):
        commit_first_byte(old, clock, GroupCommit(commit), stopping=False)
