"""The seam between what a store does and the database that keeps it: transactions that speak SQL with `:name` parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

Row = dict[str, Any]
"""A row of a result, by the names of its columns."""

Statement = tuple[str, Mapping[str, object]]
"""SQL and the values of its parameters."""


class Claim(NamedTuple):
    """One process's place among the living: its owner id, and how often the lock that stands for it was `taken`.

    Whenever that is taken anew, others may have held the process for dead meanwhile, and forgotten all about it.
    """

    owner: str
    taken: int


class Seen(NamedTuple):
    """The rows of several statements, and after the last of them store time (`now`) and the calendar (`wall`)."""

    rows: Sequence[list[Row]]
    now: float
    wall: float


class Size(NamedTuple):
    """The room that a store takes, and the part of it that is free and will be used again, in bytes."""

    total: int
    free: int = 0


class Transaction(Protocol):
    """One open transaction: it commits when its block ends, and rolls back when the block raises."""

    def together(self, statements: Sequence[Statement]) -> Seen:
        """Carry out several statements in one round trip, in this order; each sees what was committed before it began."""

    def finish(self, statements: Sequence[Statement]) -> list[int]:
        """Carry out the last changes and commit, in one round trip; how many rows each of them touched.

        Nothing else may follow in the block. After an error nothing of the transaction is there.
        """

    def rows(self, sql: str, **values: object) -> list[Row]:
        """All rows of a query."""

    def row(self, sql: str, **values: object) -> Row | None:
        """The first row of a query, if there is one."""

    def change(self, sql: str, **values: object) -> int:
        """Carry out a change; how many rows it touched."""

    def each(self, sql: str, values: Iterable[Mapping[str, object]]) -> None:
        """Carry out the same change for each of many."""

    def now(self) -> float:
        """Store time, read at this moment and not at the transaction's start."""

    def epoch(self) -> float:
        """The calendar as the store has it, in epoch seconds."""

    def alive(self, owner: str) -> bool:
        """True if the process that claimed this owner id still runs."""

    def refresh_statistics(self) -> None:
        """Let the database know that tables have grown by much, where its plans depend on that."""


class Database(Protocol):
    """One process's connection to a store. Its transactions exclude each other between threads.

    `own_clock` is True where store time is this machine's boot clock, and no other one.
    """

    own_clock: bool

    def write(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that changes something; durable when the block has ended."""

    def read(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that only looks."""

    def verify(self) -> None:
        """Raise `StoreGone` if what was opened is not what others find by its name any more."""

    def claim(self) -> Claim:
        """This process's claim, whose lock it holds from here on: taken anew where it was lost."""

    def forget(self, owner: str) -> None:
        """Remove what is left of a dead owner's lock."""

    def describe(self) -> str:
        """Where the store is, without secrets."""

    def measure(self) -> Size:
        """The room that the store takes."""

    def tidy(self, *, whole: bool) -> str:
        """Bring over what a change left in the database's log: else the next one to commit would have to.

        `whole`: give free room back to the disk, too; the reason why not, '' where it was done or there was hardly any.
        """

    def close(self) -> None:
        """Release the owner's lock and the connection."""
