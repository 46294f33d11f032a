"""Runs: freezing a plan, finding a run, and what has become of its tasks."""

from __future__ import annotations

import difflib
import json
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator.core import Counts, Problem, Result, Run, RunState, Status, Task, UsageError
from orchestrator.store import organizations, sql
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import (
    expired,
    from_problem,
    from_reference,
    from_task,
    place,
    save,
    to_bare_task,
    to_result,
    to_run,
    to_serving,
    to_task,
)
from orchestrator.store.views import RunView, Serving

BATCH = 500
"""Rows read or looked up at once: little memory, few round trips."""

AFRESH: Mapping[str, object] = {
    "status": Status.QUEUED.value,
    "tries": 0,
    "first_sent_at": None,
    "retry_at": 0.0,
    "owner": None,
    "evidence_due": None,
    "settled_wall": None,
    "settled_at": None,
    "http_status": None,
    "problem": None,
}
"""A failed task that is tried again begins anew; that a duplicate is possible is not forgotten."""


# -- freezing a plan ---------------------------------------------------------------------------------------


def start(tx: Transaction, run: Run, tasks: Sequence[Task], *, again: bool) -> Run:
    """See `Queue.start_run`."""
    values = {
        "id": run.id,
        "job": run.job,
        "files": json.dumps(run.files),
        "state": run.state.value,
        "tasks": 0,
    }
    new = tx.change(sql.ADD_RUN, **values, created_at=run.created_at or tx.epoch()) == 1
    known = _run(tx, run.id)
    if known.job != run.job:
        raise UsageError(
            f"run {run.id} belongs to the job {known.job!r}, not to {run.job!r}: choose another run id"
        )
    if new:
        _freeze(tx, run.id, tasks, again=again)
    look_again(tx, run.id)
    return _run(tx, run.id)


def look_again(tx: Transaction, run: str) -> None:
    """See `Queue.look_again`."""
    tx.change(sql.LOOK_AGAIN, run=run)


def _freeze(tx: Transaction, run: str, tasks: Sequence[Task], *, again: bool) -> None:
    names = {task.organization for task in tasks}
    known = organizations.lock_all(tx, {name: name.rpartition("=")[2] or name for name in names})
    for number in sorted({organization["id"] for organization in known.values()}):
        tx.change(sql.TOUCH_ORGANIZATION, organization=number)
    plan = sorted(tasks, key=lambda task: task.position)
    for first in range(0, len(plan), BATCH):
        batch = plan[first : first + BATCH]
        placed = [_placed(task, first + i, known[task.organization]) for i, task in enumerate(batch)]
        _freeze_batch(
            tx,
            run,
            {task.base_key: (task, organization) for task, organization in reversed(placed)},
            again=again,
        )
    tx.change(sql.SET_TASKS, run=run)
    for number, called in _names_by_organization(tasks, known).items():
        tx.change(sql.ADD_RUN_ORGANIZATION, run=run, organization=number, name="+".join(called))
    if len(plan) > BATCH:
        tx.refresh_statistics()


def _names_by_organization(tasks: Sequence[Task], known: Mapping[str, Row]) -> dict[int, list[str]]:
    """What this run's user calls each organization: usually one name, sometimes several for the same one."""
    names: dict[int, dict[str, None]] = defaultdict(dict)
    for task in tasks:
        names[known[task.organization]["id"]][task.organization_name or known[task.organization]["name"]] = (
            None
        )
    return {number: list(called) for number, called in names.items()}


def _placed(task: Task, position: int, organization: Row) -> tuple[Task, int]:
    return replace(
        task, organization=organization["identity"], position=position, generation=0
    ), organization["id"]


def _freeze_batch(tx: Transaction, run: str, wanted: Mapping[str, tuple[Task, int]], *, again: bool) -> None:
    """Match some tasks with what is known of them, make what is missing, and have the run refer to them."""
    now, epoch = tx.now(), tx.epoch()
    before = _latest(tx, list(wanted))
    fresh = []
    for base_key, (task, organization) in wanted.items():
        generation = _generation(before.get(base_key), again=again, epoch=epoch)
        if generation is not None:
            made = replace(task, generation=generation) if generation else task
            fresh.append(_new_row(made, organization, now=now, epoch=epoch))
        elif before[base_key]["status"] == Status.FAILED:
            _try_again(tx, before[base_key], task, now=now, epoch=epoch)
        elif before[base_key]["test_name"] is None and task.test_name is not None:
            tx.change(sql.NAME_TASK, task=before[base_key]["id"], test_name=task.test_name)
    tx.each(sql.ADD_TASK, fresh)
    after = _latest(tx, list(wanted))
    tx.each(
        sql.ADD_RUN_TASK,
        [_reference(run, task, after[base_key], now) for base_key, (task, _) in wanted.items()],
    )


def _generation(before: Row | None, *, again: bool, epoch: float) -> int | None:
    """The generation that has to be made, None to refer to the latest one."""
    if before is None:
        return 0
    if again or expired(before, epoch):
        return int(before["generation"]) + 1
    return None


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
        **(_refused(task, now=now, epoch=epoch) if task.refusal else {}),
    }


def _refused(task: Task, *, now: float, epoch: float) -> dict[str, object]:
    """A task that is never sent: failed from the start."""
    problem = from_problem(Problem(title=task.refusal or ""))
    return {"status": Status.FAILED.value, "settled_at": now, "settled_wall": epoch, "problem": problem}


def _try_again(tx: Transaction, before: Row, task: Task, *, now: float, epoch: float) -> None:
    changes = {**AFRESH, "queued_wall": epoch}
    save(tx, before, now, **(changes | _refused(task, now=now, epoch=epoch) if task.refusal else changes))


def _reference(run: str, task: Task, row: Row, now: float) -> Mapping[str, object]:
    phase, until = place(row, now)
    found = {"run": run, "task": row["id"], "organization": row["organization"]}
    return {**from_reference(task), **found, "phase": int(phase), "until": until}


# -- what the store knows ----------------------------------------------------------------------------------


def latest(tx: Transaction, tasks: Sequence[Task]) -> dict[str, Result]:
    """See `Queue.latest`."""
    found: dict[str, Result] = {}
    for first in range(0, len(tasks), BATCH):
        keys = {_present_key(tx, task): task for task in tasks[first : first + BATCH]}
        for base_key, row in _latest(tx, list(keys)).items():
            task = keys[base_key]
            known = replace(task, organization=row["identity"], generation=row["generation"])
            found[task.base_key] = to_result(row, known, None)
    return found


def made(
    tx: Transaction, since: float, before: tuple[float, int]
) -> tuple[list[tuple[str, Result]], tuple[float, int]]:
    """Some snapshots that were made, the latest first: those before this (time, id), and where to go on."""
    rows = tx.rows(sql.MADE, since=since, wall=before[0], before=before[1], some=BATCH)
    found = [(str(row["lease_run"] or ""), to_result(row, to_bare_task(row), None)) for row in rows]
    return found, ((rows[-1]["settled_wall"], rows[-1]["id"]) if rows else before)


def _present_key(tx: Transaction, task: Task) -> str:
    """The task's key under the identity that its organization has by now."""
    organization = organizations.find(tx, task.organization)
    return (
        task.base_key
        if organization is None
        else replace(task, organization=organization["identity"]).base_key
    )


def _latest(tx: Transaction, keys: Sequence[str]) -> dict[str, Row]:
    return {row["base_key"]: row for row in tx.rows(sql.LATEST_TASKS, keys=list(keys))}


def end(tx: Transaction, run: str, state: RunState) -> None:
    """See `Queue.end_run`. Whoever queues a task again writes the run's row after it, and waits for this lock."""
    if state is RunState.FINISHED:
        tx.row(sql.LOCK_RUN, run=run)
        tx.change(sql.FINISH_RUN, run=run)
    else:
        tx.change(sql.SET_STATE, run=run, state=state.value)


# -- finding and counting ----------------------------------------------------------------------------------


def find(tx: Transaction, text: str) -> Run:
    """See `Queue.find_run`."""
    ids = [str(row["id"]) for row in tx.rows(sql.RUN_IDS)]
    if not ids:
        raise UsageError(f"there is no run {text!r}: nothing has been run with this store yet")
    if text == "last":
        return _run(tx, ids[0])
    meant = [text] if text in ids else [name for name in ids if name.startswith(text)]
    if len(meant) == 1:
        return _run(tx, meant[0])
    if meant:
        raise UsageError(f"{text!r} begins several run ids: {', '.join(meant[:5])}")
    near = difflib.get_close_matches(text, ids, n=3, cutoff=0.5) or ids[:3]
    raise UsageError(f"there is no run {text!r}; there are {', '.join(near)}: `tesnap runs` lists all")


def view(tx: Transaction, run: str) -> RunView:
    """See `Queue.view`."""
    return _view(tx, _run(tx, run), _processes(tx)[run])


def views(tx: Transaction) -> list[RunView]:
    """See `Queue.runs`."""
    processes = _processes(tx)
    found = [to_run(row) for row in tx.rows(sql.RUNS)]
    return [_view(tx, run, processes[run.id]) for run in found]


def _view(tx: Transaction, run: Run, processes: int) -> RunView:
    counts: dict[str, Counts] = defaultdict(Counts)
    for row in tx.rows(sql.COUNTS, run=run.id):
        status = Status(row["status"])
        name = "existing" if status is Status.CREATED and not row["here"] else status.value
        refused = row["tasks"] if status is Status.FAILED and row["untried"] else 0
        counts[row["identity"]] += Counts(**{name: row["tasks"]}, refused=refused)
    names = {row["identity"]: row["name"] for row in tx.rows(sql.RUN_ORGANIZATIONS, run=run.id)}
    return RunView(run=run, counts=dict(counts), names=names, processes=processes)


def _processes(tx: Transaction) -> dict[str, int]:
    """How many live processes serve each run."""
    rows = tx.rows(sql.SERVERS)
    alive = {owner for owner in {row["owner"] for row in rows} if tx.alive(owner)}
    found: dict[str, int] = defaultdict(int)
    for row in rows:
        found[row["run"]] += row["owner"] in alive
    return found


def serving(tx: Transaction, run: str) -> dict[str, list[Serving]]:
    """See `Queue.serving`."""
    found: dict[str, list[Serving]] = defaultdict(list)
    rows = tx.rows(sql.SERVED, run=run)
    alive = {owner for owner in {row["owner"] for row in rows} if tx.alive(owner)}
    for row in rows:
        if row["owner"] in alive:
            found[row["identity"]].append(to_serving(row))
    return dict(found)


def _run(tx: Transaction, run: str) -> Run:
    row = tx.row(sql.RUN, run=run)
    if row is None:
        raise UsageError(f"there is no run {run!r}: `tesnap runs` lists all")
    return to_run(row)


# -- results -----------------------------------------------------------------------------------------------


def results_after(tx: Transaction, run: str, position: int) -> list[Result]:
    """Some results of a run behind a position, in the order of the plan."""
    return [_result(row) for row in tx.rows(sql.RESULTS, run=run, after=position, some=BATCH)]


def settled_positions(tx: Transaction, run: str, since: float) -> array[int]:
    """The positions of a run's tasks that were settled at or after that store time."""
    return array("q", (row["position"] for row in tx.rows(sql.SETTLED_POSITIONS, run=run, since=since)))


def results_at(tx: Transaction, run: str, positions: Sequence[int]) -> list[Result]:
    """The results at these positions."""
    return [_result(row) for row in tx.rows(sql.RESULTS_AT, run=run, positions=list(positions))]


def batches(positions: array[int]) -> Iterator[array[int]]:
    """Positions, some at a time."""
    for first in range(0, len(positions), BATCH):
        yield positions[first : first + BATCH]


def _result(row: Row) -> Result:
    return to_result(row, to_task(row), row["run"])
