"""All runs and snapshots that a store knows, found by an index and read page by page: nothing here reads history to count it."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from orchestrator.core import Counts, Limit, Result, Run
from orchestrator.store import history_sql, sql
from orchestrator.store.database import Database, Row, Transaction
from orchestrator.store.rows import BATCH, to_bare_task, to_limit, to_result, to_run
from orchestrator.store.views import FIRST, RunSummary, count_processes, of_live_owners, to_counts

PAGE = 20
"""Runs read at once: those of which no counts are kept have to be counted, and most lists end after a page."""

KEPT = ("created", "existing", "failed", "refused", "uncertain")
"""The counts that the row of a run with nothing pending keeps."""


class MadeSnapshot(NamedTuple):
    """A snapshot that is known as created, the run that made it (empty: none did), and when it was `made_again` last.

    The run says what its organization is called. `made_again` is epoch seconds, None where that never was.
    """

    run_id: str
    result: Result
    made_again: float | None


class History:
    """The runs and snapshots of a store, over all of them: each page as the store is when it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def runs(self) -> Iterator[RunSummary]:
        """All runs, the latest first, read page by page."""
        page, processes = {**FIRST, "some": PAGE}, None
        while True:
            with self._database.read() as tx:
                rows = tx.rows(history_sql.RUNS_BEFORE, **page)
                processes = count_processes(tx) if processes is None else processes
                found = [_summarize(tx, row, processes) for row in rows]
            yield from found
            if len(rows) < PAGE:
                return
            page |= {"created_at": rows[-1]["created_at"], "id": rows[-1]["id"]}

    def count_runs(self, *, before: Run | None = None, most: int = sys.maxsize) -> int:
        """How many runs there are, or are older than this one; not more than `most` are counted."""
        place = FIRST if before is None else {"created_at": before.created_at, "id": before.id}
        with self._database.read() as tx:
            return int(tx.rows(history_sql.COUNT_BEFORE, **place, some=most)[0]["runs"])

    def live_runs(self) -> list[RunSummary]:
        """The runs that a live process serves."""
        with self._database.read() as tx:
            processes = count_processes(tx)
            rows = (tx.row(sql.RUN, run=run_id) for run_id in sorted(processes))
            return [_summarize(tx, row, processes) for row in rows if row is not None]

    def unfinished(self, job: str) -> list[tuple[Run, int]]:
        """The runs of a job that nobody works on with something pending, and how much; the latest first."""
        with self._database.read() as tx:
            processes = count_processes(tx)
            rows = tx.rows(history_sql.UNFINISHED, job=job)
        return [
            (to_run(row), row["pending"]) for row in rows if row["pending"] and not processes.get(row["id"])
        ]

    def organizations(self, run_ids: Sequence[str]) -> Mapping[str, set[str]]:
        """The names of the organizations of each of these runs, by the run's id."""
        found: dict[str, set[str]] = defaultdict(set)
        with self._database.read() as tx:
            for row in tx.rows(history_sql.ORGANIZATIONS, runs=list(run_ids)):
                found[row["run"]] |= {row["name"], *row["name"].split("+")}
        return found

    def limits_in_use(self) -> Mapping[str, Limit]:
        """The limits by which organizations were granted last for which live processes make snapshots, by identity.

        A process may hold the credential of others, too, for which its run has nothing to make.
        """
        with self._database.read() as tx:
            rows = of_live_owners(tx, tx.rows(history_sql.SERVED_LIMITS))
            return {row["identity"]: to_limit(row["last_limit"]) for row in rows}

    def snapshots(self, *, settled_since: float = 0.0) -> Iterator[MadeSnapshot]:
        """Every snapshot that is known as created, over all runs and each once, the latest first.

        `settled_since` is epoch seconds. The tasks have neither job nor priority.
        """
        page = {"since": settled_since, "wall": sys.float_info.max, "before": 0, "some": BATCH}
        while True:
            with self._database.read() as tx:
                rows = tx.rows(history_sql.MADE, **page)
            for row in rows:
                result = to_result(row, to_bare_task(row), None)
                yield MadeSnapshot(run_id=row["lease_run"] or "", result=result, made_again=row["made_again"])
            if len(rows) < BATCH:
                return
            page |= {"wall": rows[-1]["settled_wall"], "before": rows[-1]["id"]}


# -- the parts of a page -----------------------------------------------------------------------------------


def _summarize(tx: Transaction, run: Row, processes: Mapping[str, int]) -> RunSummary:
    """A run with the counts that its row keeps, or as they are now."""
    kept = run["created"] is not None
    total = Counts(**{name: run[name] for name in KEPT}) if kept else _count_tasks(tx, run["id"])
    return RunSummary(run=to_run(run), total=total, processes=processes.get(run["id"], 0))


def _count_tasks(tx: Transaction, run: str) -> Counts:
    return sum(map(to_counts, tx.rows(history_sql.TOTALS, run=run)), Counts())
