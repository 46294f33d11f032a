"""Forgetting: which runs are old and over, and their tasks with them, in transactions that hold nobody up.

Nothing that is still needed goes: see `choose_old` for runs and `_find_fate` for tasks. A run of which something is needed
stays with that alone. Killed between two transactions it leaves a run with fewer tasks, which the next time takes.
Why: docs/decisions/0023-what-is-forgotten.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from orchestrator.core import Existence, RunState, Status
from orchestrator.store import freezing_sql, organizations, pruning_sql, stubs
from orchestrator.store.database import Database, Row, Size, Transaction
from orchestrator.store.history import History
from orchestrator.store.rows import find_existence
from orchestrator.store.views import RunSummary

SOME = 10
"""Tasks of one transaction: with SQLite 2 ms of work in a store of 1,500,000 tasks, where 50 took 8. More of them at once
make it no quicker, and those who wait wait longer."""

ENDED = (RunState.FINISHED, RunState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """Counts of what was forgotten: whole runs, snapshots, and those that may exist; and of snapshots that had to stay.

    Of those that may exist still `stubs` are left, unless they were forgotten, too (`private`): then they may be made again.
    """

    runs: int = 0
    tasks: int = 0
    stubs: int = 0
    private: int = 0
    kept: int = 0

    def __add__(self, other: Forgotten) -> Forgotten:
        return Forgotten(
            runs=self.runs + other.runs,
            tasks=self.tasks + other.tasks,
            stubs=self.stubs + other.stubs,
            private=self.private + other.private,
            kept=self.kept + other.kept,
        )


class Pruning:
    """What a store may forget, and its size."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_old(self, before: float, *, job: str | None = None) -> list[RunSummary]:
        """The runs that are over and began before this moment (epoch seconds), of one job or of all, the oldest first."""
        with self._database.read() as tx:
            needed = {row["run"] for row in tx.rows(pruning_sql.RUNS_OF_STARTS, before=before)}
            parts = {row["run"] for row in tx.rows(pruning_sql.RUNS_OF_PARTS)}
        return choose_old(History(self._database).runs(), before, job=job, needed=needed, parts=parts)

    def forget(self, run_id: str, *, before: float, private: bool = False) -> Iterator[Forgotten]:
        """Forget a run with what was settled before this moment (epoch seconds), some tasks after the others.

        Each step is one transaction. Of snapshots that may exist for ever stubs are left, unless these are to be
        forgotten, too (`private`). A run that is active again is left alone.
        """
        after: int | None = -1
        while after is not None:
            with self._database.write() as tx:
                forgotten, after = _forget_some(tx, run_id, after, before, private=private)
            self._database.tidy(whole=False)
            yield forgotten

    def forget_stubs(self, *, before: float) -> Iterator[Forgotten]:
        """Forget the stubs of snapshots that were made before this moment (epoch seconds), some after the others."""
        page: Row | None = {"base_key": "", "generation": 0}
        while page is not None:
            with self._database.write() as tx:
                rows = stubs.read_page(tx, page, SOME)
                old = [row["base_key"] for row in rows if row["made_wall"] < before]
                dropped = stubs.drop(tx, old, before)
            page = rows[-1] if len(rows) == SOME else None
            yield Forgotten(private=dropped)

    def forget_starts(self, *, before: float, job: str | None = None) -> None:
        """Forget the starts of before this moment (epoch seconds) that came to no run, of one job or of all."""
        some = SOME
        while some == SOME:
            with self._database.write() as tx:
                starts = [
                    row["id"] for row in tx.rows(pruning_sql.OLD_STARTS, before=before, job=job, some=SOME)
                ]
                some = tx.change(pruning_sql.DROP_STARTS, starts=starts) if starts else 0

    def measure(self) -> Size:
        """The room that the store takes, and how much of it is free."""
        return self._database.measure()

    def compact(self) -> str:
        """Give free room back to the disk; the reason why not, '' where it was done or there was hardly any."""
        return self._database.tidy(whole=True)


def choose_old(
    runs: Iterable[RunSummary],
    before: float,
    *,
    job: str | None = None,
    needed: Collection[str] = (),
    parts: Collection[str] = (),
) -> list[RunSummary]:
    """The runs to be forgotten among all there are, the latest first; the oldest comes out first.

    A run stays while it is not over, while a process serves it, or as the latest of its job or the last one of it with
    everything made: by these it is told when a job last ran, and when it last succeeded. That is for jobs of files: each
    incident is a job of its own, and runs that are `parts` by their ids tell nothing of a job. Those that are `needed`
    stay, too. A run of which only what is uncertain is left has nothing to be forgotten.
    """
    found: list[RunSummary] = []
    ran: set[str] = set()
    succeeded: set[str] = set()
    for one in runs:
        name, counts, whole = one.run.job, one.total, bool(one.run.files) and one.run.id not in parts
        over = one.run.state in ENDED and not one.processes and one.run.created_at < before
        told_of = whole and (name not in ran or (_is_success(one) and name not in succeeded))
        if whole:
            ran.add(name)
            succeeded |= {name} if _is_success(one) else set()
        stays = told_of or one.run.id in needed or 0 < counts.uncertain == counts.total
        if over and not stays and job in (None, name):
            found.append(one)
    return found[::-1]


def _is_success(one: RunSummary) -> bool:
    counts, run = one.total, one.run
    whole = counts.created + counts.existing == counts.total > 0 and not run.refused
    return run.state is RunState.FINISHED and whole


def _forget_some(
    tx: Transaction, run: str, after: int, before: float, *, private: bool
) -> tuple[Forgotten, int | None]:
    """Forget some of a run's tasks, those after a position; the last position looked at, None when nothing is left."""
    rows = organizations.lock_rows(tx, lambda: tx.rows(pruning_sql.OF_RUN, run=run, after=after, some=SOME))
    if tx.row(pruning_sql.LOCK_ENDED, run=run) is None:
        return Forgotten(), None
    epoch = tx.epoch()
    fates = [(row, _find_fate(row, before, epoch)) for row in rows]
    over = [(row, fate) for row, fate in fates if fate is not _Fate.STAYS]
    may_exist = _drop(tx, run, over, private=private)
    left = {"private": may_exist} if private else {"stubs": may_exist}
    forgotten = Forgotten(tasks=len(over), kept=len(rows) - len(over), **left)
    if len(rows) == SOME:
        return forgotten, rows[-1]["position"]
    return forgotten + Forgotten(runs=_drop_empty(tx, run)), None


class _Fate(Enum):
    """What becomes of a task of an old run."""

    STAYS = auto()
    GOES = auto()
    MAY_EXIST = auto()
    """It goes, but its snapshot may be there for ever."""


def _find_fate(row: Row, before: float, epoch: float) -> _Fate:
    """The fate of a task: one that was given up unsent goes, and one settled before this moment and not there any more.

    One that is in flight, uncertain or looked for stays, and so does a snapshot that is known to exist.
    """
    status = Status(row["status"])
    if status is Status.QUEUED:
        return _Fate.GOES if row["evidence_due"] is None else _Fate.STAYS
    if status not in (Status.CREATED, Status.FAILED) or (row["settled_wall"] or before) >= before:
        return _Fate.STAYS
    there = find_existence(row, None, epoch) if status is Status.CREATED else Existence.GONE
    if there is Existence.THERE:
        return _Fate.STAYS
    return _Fate.GOES if there is Existence.GONE else _Fate.MAY_EXIST


def _drop(tx: Transaction, run: str, over: Sequence[tuple[Row, _Fate]], *, private: bool) -> int:
    """Drop a run's references to these tasks, and those tasks that nothing needs any more; how many may exist.

    Those leave a stub unless they are to be forgotten, too. A task of which a duplicate is possible stays as it is:
    whoever asks for it again is told so.
    """
    if not over:
        return 0
    tasks = [row["id"] for row, _ in over]
    tx.change(freezing_sql.DROP_REFERENCES, run=run, tasks=tasks)
    tx.change(pruning_sql.SHRINK_RUN, run=run, dropped=len(tasks))
    alone = {row["id"] for row in tx.rows(pruning_sql.UNREFERRED, tasks=tasks)}
    gone = [one for one in over if one[0]["id"] in alone and not one[0]["duplicate_possible"]]
    lasting = [row for row, fate in gone if fate is _Fate.MAY_EXIST]
    stubs.leave(tx, () if private else lasting)
    tx.change(pruning_sql.DROP_TASKS, tasks=[row["id"] for row, _ in gone])
    tx.change(pruning_sql.DISOWN, run=run, tasks=tasks)
    return len(lasting)


def _drop_empty(tx: Transaction, run: str) -> int:
    """Drop a run that has no tasks any more; how many that were."""
    if tx.row(pruning_sql.IS_EMPTY, run=run) is None:
        return 0
    tx.change(pruning_sql.DROP_STARTS_OF, run=run)
    tx.change(freezing_sql.DROP_ORGANIZATIONS_OF_RUN, run=run)
    return tx.change(freezing_sql.DROP_RUN, run=run)
