"""A database that remembers each statement asked of it, and what its planner would do for one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from orchestrator.store.database import Database, Row, Seen, Statement, Transaction

HISTORY = ("run", "task", "run_task", "stub")
"""The tables that grow with every run."""

UNFINISHED = ("run_active", "run_planned", "task_owner", "task_evidence")
"""Indexes that hold nothing of what has ended: they may be read whole."""


class Recorded:
    """A database, and the statements with their values that went to it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def read(self) -> Iterator[RecordedTransaction]:
        with self._database.read() as tx:
            yield RecordedTransaction(tx, self.asked)

    @contextmanager
    def write(self) -> Iterator[RecordedTransaction]:
        with self._database.write() as tx:
            yield RecordedTransaction(tx, self.asked)

    def scans(self, sql: str, values: Mapping[str, object]) -> list[str]:
        """The tables of the history that a statement would read from end to end, as the database's planner has it."""
        with self._database.write() as tx:
            if self.describe().startswith("sqlite:"):
                return list(_sqlite_scans(sql, tx.rows(f"EXPLAIN QUERY PLAN {sql}", **values)))
            tx.change("SET LOCAL enable_seqscan = off")  # a table that is small is read whole, index or not
            return list(
                _postgres_scans(tx.rows(f"EXPLAIN (FORMAT JSON) {sql}", **values)[0]["QUERY PLAN"][0]["Plan"])
            )


class RecordedTransaction:
    """A transaction that writes down what it is asked."""

    def __init__(self, tx: Transaction, asked: list[tuple[str, Mapping[str, object]]]) -> None:
        self._tx, self._asked = tx, asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def together(self, statements: Sequence[Statement]) -> Seen:
        self._asked += statements
        return self._tx.together(statements)

    def finish(self, statements: Sequence[Statement]) -> list[int]:
        self._asked += statements
        return self._tx.finish(statements)

    def rows(self, sql: str, **values: object) -> list[Row]:
        self._asked.append((sql, values))
        return self._tx.rows(sql, **values)

    def row(self, sql: str, **values: object) -> Row | None:
        self._asked.append((sql, values))
        return self._tx.row(sql, **values)

    def change(self, sql: str, **values: object) -> int:
        self._asked.append((sql, values))
        return self._tx.change(sql, **values)

    def each(self, sql: str, values: Iterable[Mapping[str, object]]) -> None:
        values = list(values)
        self._asked += [(sql, values[0])] if values else []
        self._tx.each(sql, values)


def _sqlite_scans(sql: str, plan: Iterable[Row]) -> Iterator[str]:
    names = {alias: name for name, alias in re.findall(rf"\b({'|'.join(HISTORY)}) (?:AS )?(\w+)", sql)}
    for row in plan:
        verb, name, *how = str(row["detail"]).split()
        if verb == "SCAN" and (name in names or name in HISTORY) and not set(how) & set(UNFINISHED):
            yield names.get(name, name)


def _postgres_scans(node: Mapping[str, Any]) -> Iterator[str]:
    kind, name = node["Node Type"], node.get("Index Name") or node.get("Relation Name", "")
    reads = kind.endswith("Scan") and kind != "Bitmap Heap Scan" and name.startswith(HISTORY)
    if reads and name not in UNFINISHED and "Index Cond" not in node:
        yield name
    for part in node.get("Plans", ()):
        yield from _postgres_scans(part)
