"""Runs: freezing a plan under a run id, trying again what failed, and how a run ends."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.core import Existence, Problem, Run, RunState, Status, Task, UsageError
from orchestrator.store import loss, organizations, sql
from orchestrator.store.database import Database, Row, Transaction
from orchestrator.store.leases import queue_afresh
from orchestrator.store.rows import (
    BATCH,
    find_existence,
    find_phase,
    from_listing,
    from_problem,
    from_reference,
    from_task,
)
from orchestrator.store.views import latest_rows, load_run


class Runs:
    """The runs of a store, as those who start and end them change them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, run: Run, tasks: Sequence[Task], *, again: bool = False) -> Run:
        """Freeze a plan under its run id, all or nothing; a run that exists is returned as it is.

        A task is matched with the latest generation of the same snapshot: created and not gone (by
        `Store.epoch()` and the saved events that were listed), uncertain or being worked on: the run refers to it;
        created and gone, or `again`:
        a new generation; failed: queued again. Raises `UsageError` when the run id belongs to another
        job name.
        """
        with self._database.write() as tx:
            new = _add(tx, run)
            known = load_run(tx, run.id)
            if known.job != run.job:
                raise UsageError(
                    f"run {run.id} belongs to the job {known.job!r}, not to {run.job!r}: choose another run id"
                )
            if new:
                _freeze(tx, run.id, tasks, again=again)
            tx.change(sql.LOOK_AGAIN, run=run.id)
            return load_run(tx, run.id)

    def look_again(self, run_id: str) -> None:
        """Have evidence for the run's uncertain tasks looked for once more, as when a run starts."""
        with self._database.write() as tx:
            tx.change(sql.LOOK_AGAIN, run=run_id)

    def retry_failed(self, run_id: str) -> int:
        """Queue the run's failed tasks again; how many. A finished run is active again, a cancelled one is not."""
        with self._database.write() as tx:
            failed = _lock_failed(tx, run_id)
            now, epoch = tx.now(), tx.epoch()
            for row in failed:
                queue_afresh(tx, row, now=now, epoch=epoch)
            if failed:
                tx.change(sql.REVIVE_RUN, run=run_id)
        return len(failed)

    def end(self, run_id: str, state: RunState) -> None:
        """Set a run's state.

        It finishes only while it is active and nothing of it is pending: somebody may have queued a task of it
        again since it was looked at. That writes the run's row after the task, and waits for the lock that this has.
        """
        with self._database.write() as tx:
            if state is RunState.FINISHED:
                tx.row(sql.LOCK_RUN, run=run_id)
                if tx.change(sql.FINISH_RUN, run=run_id):
                    tx.change(loss.END_LOSS, run=run_id, wall=tx.epoch())
            else:
                tx.change(sql.SET_STATE, run=run_id, state=state.value)


def _lock_failed(tx: Transaction, run: str) -> list[Row]:
    """The run's tasks that failed when they were sent, read behind the locks of their organizations' buckets.

    The others were refused when they were planned: those are never sent.
    """
    locked: set[int] = set()
    while True:
        rows = tx.rows(sql.RUN_TASKS_IN, run=run, status=Status.FAILED.value)
        failed = [row for row in rows if row["tries"]]
        missing = {row["bucket"] for row in failed} - locked
        if not missing:
            return failed
        organizations.lock_buckets(tx, missing)
        locked |= missing


# -- freezing a plan ---------------------------------------------------------------------------------------


def _add(tx: Transaction, run: Run) -> bool:
    """Write a run without tasks; False if there is one of this id."""
    added = tx.change(
        sql.ADD_RUN,
        id=run.id,
        job=run.job,
        files=json.dumps(run.files),
        created_at=run.created_at or tx.epoch(),
        state=run.state.value,
        tasks=0,
    )
    return added == 1


def _freeze(tx: Transaction, run: str, tasks: Sequence[Task], *, again: bool) -> None:
    names = {task.organization for task in tasks}
    known = organizations.lock_all(tx, {name: name.rpartition("=")[2] or name for name in names})
    for number in sorted({organization["id"] for organization in known.values()}):
        tx.change(sql.TOUCH_BUCKET, organization=number)
    plan = sorted(tasks, key=lambda task: task.position)
    for first in range(0, len(plan), BATCH):
        batch = plan[first : first + BATCH]
        placed = [_place(task, first + i, known[task.organization]) for i, task in enumerate(batch)]
        wanted = {task.base_key: (task, organization) for task, organization in reversed(placed)}
        _freeze_batch(tx, run, wanted, again=again)
    tx.change(sql.SET_TASKS, run=run)
    for number, names_here in _names_by_organization(tasks, known).items():
        tx.change(sql.ADD_RUN_ORGANIZATION, run=run, organization=number, name="+".join(names_here))
    if len(plan) > BATCH:
        tx.refresh_statistics()


def _names_by_organization(tasks: Sequence[Task], known: Mapping[str, Row]) -> dict[int, list[str]]:
    """The names that this run's user has for each organization: usually one, sometimes several."""
    names: dict[int, dict[str, None]] = defaultdict(dict)
    for task in tasks:
        organization = known[task.organization]
        names[organization["id"]][task.organization_name or organization["name"]] = None
    return {number: list(names_here) for number, names_here in names.items()}


def _place(task: Task, position: int, organization: Row) -> tuple[Task, int]:
    """A task at its place in the plan, and the number of its organization."""
    placed = replace(task, organization=organization["identity"], position=position, generation=0)
    return placed, organization["id"]


def _freeze_batch(tx: Transaction, run: str, wanted: Mapping[str, tuple[Task, int]], *, again: bool) -> None:
    """Match some tasks with what is known of them, make what is missing, and have the run refer to them."""
    now, epoch = tx.now(), tx.epoch()
    before = latest_rows(tx, list(wanted))
    fresh, unverified = [], set()
    for base_key, (task, organization) in wanted.items():
        known = before.get(base_key)
        there = None if known is None else find_existence(known, task.saved_events, epoch)
        generation = _new_generation(known, again=again or there is Existence.GONE)
        if generation is not None:
            task_made = replace(task, generation=generation) if generation else task
            fresh.append(_new_row(task_made, organization, now=now, epoch=epoch))
        elif known is not None:
            _meet(tx, known, task, now=now, epoch=epoch)
            unverified |= {base_key} if there is Existence.UNVERIFIED else set()
    tx.each(sql.ADD_TASK, fresh)
    after = latest_rows(tx, list(wanted))
    references = [
        _reference(run, replace(task, unverified=base_key in unverified), after[base_key], now)
        for base_key, (task, _) in wanted.items()
    ]
    tx.each(sql.ADD_RUN_TASK, references)


def _new_generation(before: Row | None, *, again: bool) -> int | None:
    """The generation that has to be made, None to refer to the latest one."""
    if before is None:
        return 0
    return int(before["generation"]) + 1 if again else None


def _new_row(task: Task, organization: int, *, now: float, epoch: float) -> dict[str, object]:
    row = {
        "queued_wall": epoch,
        "settled_wall": None,
        "settled_at": None,
        "problem": None,
        "status": Status.QUEUED.value,
    }
    return {
        **from_task(task, organization),
        **row,
        **from_listing(task),
        **_refusal(task, now=now, epoch=epoch),
    }


def _meet(tx: Transaction, known: Row, task: Task, *, now: float, epoch: float) -> None:
    """Bring a task that is there already forward: what failed is tried again, a test's name is learnt."""
    if known["status"] == Status.FAILED:
        queue_afresh(tx, known, now=now, epoch=epoch, **_refusal(task, now=now, epoch=epoch))
    if known["granted_at"] is None and task.saved_events is not None:
        tx.change(sql.NOTE_LISTED, task=known["id"], **from_listing(task))
    if known["test_name"] is None and task.test_name is not None:
        tx.change(sql.NAME_TASK, task=known["id"], test_name=task.test_name)


def _refusal(task: Task, *, now: float, epoch: float) -> dict[str, object]:
    """The columns of a task that is never sent, where they differ from another new one's: it has failed."""
    if not task.refusal:
        return {}
    problem = from_problem(Problem(title=task.refusal))
    return {"status": Status.FAILED.value, "settled_at": now, "settled_wall": epoch, "problem": problem}


def _reference(run: str, task: Task, row: Row, now: float) -> Mapping[str, object]:
    phase, until = find_phase(row, now)
    found = {"run": run, "task": row["id"], "organization": row["organization"]}
    return {**from_reference(task), **found, "phase": int(phase), "until": until}
