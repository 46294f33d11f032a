"""A plan on its way into the store: in short transactions, and seen by nobody before the last of them.

Meanwhile the run is in the state `planning` and names the process that stores it. If that process is gone, the run never
was: whoever starts a run next removes it, with the tasks that it alone refers to. What the plan found failed or uncertain
is touched only once the run is whole. Why: docs/decisions/0015-a-plan-is-stored-in-parts.md.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from orchestrator.core import Existence, Problem, Run, RunBeingPlanned, Status, StoreUnavailable, Task
from orchestrator.store import freezing_sql, organizations, sql, stubs
from orchestrator.store.database import Database, Row, Transaction
from orchestrator.store.leases import queue_all_afresh
from orchestrator.store.rows import (
    find_phase,
    from_listing,
    from_problem,
    from_reference,
    from_refused,
    from_task,
    to_bare_task,
    to_result,
)
from orchestrator.store.views import latest_rows

SOME = 200
"""Tasks that are stored, removed or taken up in one transaction: with SQLite some 20 ms, in which nobody else grants."""

OnEnded = Callable[[Task, Existence], None]
"""Hears of a task whose saved event is older than it may become: gone, or not to be verified."""

QUEUED: Mapping[str, object] = {
    "status": Status.QUEUED.value,
    "retry_at": 0.0,
    "evidence_due": None,
    "settled_wall": None,
    "settled_at": None,
    "problem": None,
}
"""The columns of a new task that say where it is in its life."""


def begin(database: Database, run: Run, planner: str) -> bool:
    """Make a run without tasks, which this process is planning; False if there is one of this id.

    What dead processes have left of plans is removed first. Raises `RunBeingPlanned`.
    """
    for row in _find_abandoned(database, planner):
        while _remove_some(database, row["id"], row["planner"]):
            pass
    with database.write() as tx:
        values: dict[str, object] = {
            "id": run.id,
            "job": run.job,
            "files": json.dumps(run.files),
            "planner": planner,
        }
        values |= {"created_at": run.created_at or tx.epoch(), "left_out": from_refused(run.refused)}
        if tx.change(freezing_sql.ADD_RUN, **values):
            return True
        if tx.row(sql.RUN, run=run.id) is None:
            raise RunBeingPlanned(f"run {run.id} is being planned by another process at this moment")
    return False


def _find_abandoned(database: Database, own: str) -> list[Row]:
    """The runs whose plan nobody will complete: those of dead processes, and what this one left before."""
    with database.read() as tx:
        rows = tx.rows(freezing_sql.PLANNED_RUNS)
        return [row for row in rows if row["planner"] == own or not tx.alive(row["planner"])]


def _remove_some(database: Database, run: str, planner: str) -> bool:
    """Remove a part of a run that never was, the last time all that is left; False when nothing is."""
    with database.write() as tx:
        if tx.row(freezing_sql.LOCK_PLANNED, run=run, planner=planner) is None:
            return False  # somebody else has removed it
        rows = organizations.lock_rows(tx, lambda: tx.rows(freezing_sql.SOME_RUN_TASKS, run=run, some=SOME))
        tasks = [row["task"] for row in rows]
        tx.change(freezing_sql.DROP_PLANNED_TASKS, run=run, tasks=tasks)
        tx.change(freezing_sql.DROP_REFERENCES, run=run, tasks=tasks)
        if len(rows) < SOME:
            tx.change(freezing_sql.DROP_ORGANIZATIONS_OF_RUN, run=run)
            tx.change(freezing_sql.DROP_RUN, run=run)
        return len(rows) == SOME


class _Wanted(NamedTuple):
    """A task of the plan at its place in it: with its key, and its organization's number, as the store has them now."""

    task: Task
    key: str
    organization: int
    position: int


class Freezing:
    """A run that `begin` has made, and how much of its plan is stored."""

    def __init__(
        self, database: Database, run_id: str, planner: str, *, again: bool, on_ended: OnEnded | None
    ) -> None:
        self._database, self._run, self._planner = database, run_id, planner
        self._again, self._on_ended = again, on_ended
        self._names: dict[int, dict[str, None]] = defaultdict(
            dict
        )  # of organizations, as the plan calls them
        self._position = 0

    def add(self, tasks: Iterable[Task]) -> None:
        """Store the tasks of the plan in the order in which they come, some at a time."""
        coming = iter(tasks)
        while batch := list(islice(coming, SOME)):
            with self._database.write() as tx:
                self._lock(tx)
                self._add_batch(tx, batch)

    def complete(self) -> None:
        """Make the run one that everybody sees, and of which tasks are granted."""
        if self._position > SOME:
            with self._database.write() as tx:
                tx.refresh_statistics()
        with self._database.write() as tx:
            self._lock(tx)
            tx.change(freezing_sql.ACTIVATE_RUN, run=self._run)

    def _lock(self, tx: Transaction) -> None:
        """Raise StoreUnavailable if others took this process for dead, and removed what it had stored."""
        if tx.row(freezing_sql.LOCK_PLANNED, run=self._run, planner=self._planner) is None:
            raise StoreUnavailable(
                f"run {self._run}: the connection to the store was lost while its plan was stored; nothing of it was kept"
                " and nothing was sent: run the same command again"
            )

    def _add_batch(self, tx: Transaction, batch: Sequence[Task]) -> None:
        """Match some tasks with what is known of them, make what is missing, and have the run refer to them."""
        names = {task.organization: task.organization.rpartition("=")[2] for task in batch}
        known = organizations.lock_all(tx, names)
        wanted = {one.key: one for one in reversed(self._place(batch, known))}
        stubs.revive(tx, list(wanted))
        before = latest_rows(tx, list(wanted))
        mine = self._referred(tx, before)
        now, epoch = tx.now(), tx.epoch()
        fresh, references, noted = [], [], []
        for one in wanted.values():
            row = before.get(one.key)
            if row is not None and row["id"] in mine:
                continue  # two organizations became one since the plan was made
            there = None if row is None else self._look(row, one.task, epoch)
            if row is None or self._again or there is Existence.GONE:
                generation = 0 if row is None else row["generation"] + 1
                fresh.append((one, _new_row(one, generation, now=now, epoch=epoch)))
            else:
                noted.append((row, one.task))
                reference = self._refer(one, row, now)
                references.append(
                    {**reference, **_to_take_up(row, one.task), "unverified": there is Existence.UNVERIFIED}
                )
        _note(tx, noted)
        tx.each(freezing_sql.ADD_TASK, [row for _, row in fresh])
        numbers = {
            row["key"]: row["id"]
            for row in tx.rows(freezing_sql.NUMBERS, keys=[row["key"] for _, row in fresh])
        }
        references += [self._refer(one, {**row, "id": numbers[row["key"]]}, now) for one, row in fresh]
        tx.each(freezing_sql.ADD_RUN_TASK, references)
        tx.change(freezing_sql.ADD_TO_RUN, run=self._run, tasks=len(references))
        self._name_organizations(tx, batch, known)

    def _place(self, batch: Sequence[Task], known: Mapping[str, Row]) -> list[_Wanted]:
        """The tasks under the present identities of their organizations, each at the next place of the plan."""
        placed = []
        for task in batch:
            organization = known[task.organization]
            now = (
                task
                if task.organization == organization["identity"]
                else replace(task, organization=organization["identity"])
            )
            placed.append(_Wanted(now, now.base_key, organization["id"], self._position))
            self._position += 1
        return placed

    def _referred(self, tx: Transaction, rows: Mapping[str, Row]) -> set[int]:
        """Those of these tasks that the run refers to already."""
        tasks = [row["id"] for row in rows.values()]
        found = tx.rows(freezing_sql.REFERRED_TASKS, run=self._run, tasks=tasks) if tasks else []
        return {row["task"] for row in found}

    def _look(self, row: Row, task: Task, epoch: float) -> Existence:
        """Tell if a snapshot that is known is there still."""
        result = to_result(row, to_bare_task(row), None)
        there = result.existence(task.saved_events, epoch)
        ended = there is not Existence.THERE and result.may_expire_at is not None
        if ended and self._on_ended is not None:
            self._on_ended(task, there)
        return there

    def _refer(self, one: _Wanted, row: Row, now: float) -> dict[str, object]:
        """The run's reference to a task."""
        phase, until = find_phase(row, now)
        return {
            **from_reference(one.task),
            "run": self._run,
            "position": one.position,
            "task": row["id"],
            "organization": one.organization,
            "phase": int(phase),
            "until": until,
            "afresh": None,
        }

    def _name_organizations(self, tx: Transaction, batch: Sequence[Task], known: Mapping[str, Row]) -> None:
        """Keep the names that this run's user has for each organization: usually one, sometimes several."""
        changed = set()
        for task in batch:
            organization = known[task.organization]
            names = self._names[organization["id"]]
            name = task.organization_name or organization["name"]
            if name not in names:
                names[name] = None
                changed.add(organization["id"])
        called = {number: "+".join(self._names[number]) for number in sorted(changed)}
        named = [{"run": self._run, "organization": number, "name": name} for number, name in called.items()]
        tx.each(freezing_sql.ADD_RUN_ORGANIZATION, named)


def take_up(database: Database, run: str) -> None:
    """Queue again what a run's plan found failed, and have what it found uncertain looked for once more."""
    while _take_up_some(database, run):
        pass


def _take_up_some(database: Database, run: str) -> bool:
    with database.read() as tx:
        if not tx.rows(freezing_sql.TO_TAKE_UP, run=run, some=1):
            return False
    with database.write() as tx:
        rows = organizations.lock_rows(tx, lambda: tx.rows(freezing_sql.TO_TAKE_UP, run=run, some=SOME))
        now, epoch = tx.now(), tx.epoch()
        failed = (row for row in rows if row["status"] == Status.FAILED)
        again = ((row, _refusal(row["afresh"], now=now, epoch=epoch)) for row in failed)
        queue_all_afresh(tx, again, now=now, epoch=epoch)
        tasks = [row["id"] for row in rows]
        tx.change(freezing_sql.LOOK_AGAIN_AT, tasks=tasks)
        tx.change(freezing_sql.TAKEN_UP, run=run, tasks=tasks)
        tx.change(sql.REVIVE_RUN, run=run)
    return True


# -- the rows ----------------------------------------------------------------------------------------------


def _new_row(one: _Wanted, generation: int, *, now: float, epoch: float) -> dict[str, object]:
    """A task that nobody knew, or in a generation that nobody made."""
    task = replace(one.task, generation=generation) if generation else one.task
    return {
        **from_task(task, one.organization, base_key=one.key),
        **QUEUED,
        "queued_wall": epoch,
        **from_listing(task),
        **_refusal(_problem(task), now=now, epoch=epoch),
    }


def _note(tx: Transaction, known: Sequence[tuple[Row, Task]]) -> None:
    """Have tasks that are there already know what the lists say of them now."""
    listed = [
        {"task": row["id"], **from_listing(task)}
        for row, task in known
        if row["granted_at"] is None and task.saved_events is not None
    ]
    named = [
        {"task": row["id"], "test_name": task.test_name}
        for row, task in known
        if row["test_name"] is None and task.test_name is not None
    ]
    tx.each(freezing_sql.NOTE_LISTED, listed)
    tx.each(freezing_sql.NAME_TASK, named)


def _to_take_up(row: Row, task: Task) -> dict[str, object]:
    """The column that has the run take a task up once it is whole: one that failed, or that is not looked for any more."""
    status = Status(row["status"])
    over = status is Status.UNCERTAIN and row["evidence_due"] is None
    return {"afresh": _problem(task) or ""} if over or status is Status.FAILED else {}


def _problem(task: Task) -> str | None:
    """The reason (JSON) why a task is never sent; None for one that is."""
    return from_problem(Problem(title=task.refusal)) if task.refusal else None


def _refusal(problem: str | None, *, now: float, epoch: float) -> dict[str, object]:
    """The columns of a task that is never sent, where they differ from another new one's: it has failed."""
    if not problem:
        return {}
    return {"status": Status.FAILED.value, "settled_at": now, "settled_wall": epoch, "problem": problem}
