"""Views: where runs are, what has become of their tasks, and what snapshots there are. Nothing here changes anything."""

from __future__ import annotations

import json
import sys
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, NamedTuple

from orchestrator.core import Counts, Reason, Result, Run, Status, Task, UsageError, closest
from orchestrator.ratelimit import search_end
from orchestrator.store import freezing_sql, history_sql, loss, organizations, sql, stubs
from orchestrator.store.database import Database, Row, Transaction
from orchestrator.store.rows import BATCH, kind, to_result, to_run, to_task

FIRST: Mapping[str, Any] = {"created_at": sys.float_info.max, "id": ""}
"""The place before all runs, of which the latest is the first."""

NEAR = 100
"""Runs among which a word that means none may be nearest to one."""

NAMED = 5
"""Run ids that an error names at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run, its counts over all organizations, and how many live processes serve it."""

    run: Run
    total: Counts = field(default_factory=Counts)
    processes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run, its counts and its user's names by organization identity, and how many live processes serve it."""

    run: Run
    counts: Mapping[str, Counts] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    processes: int = 0

    @property
    def total(self) -> Counts:
        """Counts over all organizations."""
        return sum(self.counts.values(), Counts())

    @property
    def summary(self) -> RunSummary:
        """The run without its organizations."""
        return RunSummary(run=self.run, total=self.total, processes=self.processes)


class ServingProcess(NamedTuple):
    """One live process at one organization of a run: the kinds refused it, and why it sends nothing at all.

    `stopped_until` is until when that may change by itself, in epoch seconds.
    """

    refused: frozenset[tuple[str, bool]] = frozenset()
    stopped: Reason | None = None
    stopped_until: float | None = None


class Search(NamedTuple):
    """The lost answers of a run that are looked for in one organization: how many, from when, until when (store time).

    The end holds for a run with nothing pending.
    """

    tasks: int
    due: float
    ends_at: float


class Loss(NamedTuple):
    """A store that is not all that was kept in its place: why, and when that was noticed (epoch seconds).

    `ended`: a run has ended cleanly since then.
    """

    cause: str
    at: float
    ended: bool

    @property
    def is_wanted(self) -> bool:
        """True if somebody put the store back on purpose: there is no better file."""
        return self.cause.startswith(loss.PUT_BACK)


class Views:
    """All that can be seen of runs and snapshots, each view as the store is when it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_run(self, text: str) -> Run:
        """The run with this id, unique prefix, or the latest for `last`; raises `UsageError` naming near ones."""
        text = text.encode(errors="replace").decode()  # a word of the command line may be any bytes
        with self._database.read() as tx:
            found = _find_latest(tx, 1) if text == "last" else _find_by_id(tx, text)
            if len(found) == 1:
                return to_run(found[0])
            if not found and _is_being_planned(tx, text):
                raise UsageError(
                    f"run {text} is being planned at this moment: ask again when its plan is stored"
                )
            raise _not_one_run(text, [row["id"] for row in found or _find_latest(tx, NEAR)], many=bool(found))

    def find_exact(self, run_id: str) -> Run | None:
        """The run with exactly this id, if there is one."""
        with self._database.read() as tx:
            row = tx.row(sql.RUN, run=run_id)
        return None if row is None else to_run(row)

    def run(self, run_id: str) -> RunView:
        """One run with its counts by organization."""
        with self._database.read() as tx:
            return _view(tx, load_run(tx, run_id), count_processes(tx)[run_id])

    def loss(self) -> Loss | None:
        """The last loss of the store that was noticed, if there ever was one."""
        with self._database.read() as tx:
            row = tx.row(loss.LOSS)
        if row is None:
            return None
        return Loss(cause=row["lost_cause"], at=row["lost_wall"], ended=row["clean_wall"] is not None)

    def serving_processes(self, run_id: str) -> Mapping[str, Sequence[ServingProcess]]:
        """The live processes of a run with what they have declared, by organization identity."""
        found: dict[str, list[ServingProcess]] = defaultdict(list)
        with self._database.read() as tx:
            for row in of_live_owners(tx, tx.rows(sql.SERVED, run=run_id)):
                found[row["identity"]].append(_to_serving_process(row))
        return dict(found)

    def count_open(self, run_id: str, task: Task) -> int:
        """How many tasks of a task's kind, in its organization, the run has not settled."""
        row = {"run": run_id, "identity": task.organization, "kind": kind(*task.kind)}
        with self._database.read() as tx:
            return int(tx.rows(sql.COUNT_OPEN, **row)[0]["tasks"])

    def left(self, run_id: str, identities: Sequence[str]) -> Mapping[str, int]:
        """How many tasks some organizations of a run have that are not settled; by identity, where there are any."""
        with self._database.read() as tx:
            rows = tx.rows(sql.LEFT, run=run_id, identities=list(identities))
        return {row["identity"]: row["tasks"] for row in rows}

    def searches(self, run_id: str) -> Mapping[str, Search]:
        """The lost answers of a run that are still looked for, by organization identity."""
        with self._database.read() as tx:
            rows = tx.rows(sql.SEARCHES, run=run_id)
        return {
            row["identity"]: Search(
                tasks=row["tasks"], due=row["due"], ends_at=search_end(row["settled_at"], row["reach"])
            )
            for row in rows
        }

    def versions(self, run_id: str) -> Mapping[str, int]:
        """A number for each organization of the run that changes with a token, and with a task that waits or has ended."""
        with self._database.read() as tx:
            return {row["identity"]: row["version"] for row in tx.rows(sql.VERSIONS, run=run_id)}

    # -- tasks and snapshots ---------------------------------------------------------------------------
    def results(self, run_id: str, *, settled_since: float | None = None) -> Iterator[Result]:
        """A run's tasks in the order of the plan; with `settled_since` those settled at or after that store time."""
        return self._all(run_id) if settled_since is None else self._settled_results(run_id, settled_since)

    def _all(self, run_id: str) -> Iterator[Result]:
        position = -1
        while True:
            with self._database.read() as tx:
                rows = tx.rows(sql.RESULTS, run=run_id, after=position, some=BATCH)
            if not rows:
                return
            yield from map(_result, rows)
            position = rows[-1]["position"]

    def settled(self, run_id: str, since: float) -> dict[int, float]:
        """The positions of a run's tasks that were settled at or after a store time, and when each of them was."""
        with self._database.read() as tx:
            rows = tx.rows(sql.SETTLED_POSITIONS, run=run_id, since=since)
        return {row["position"]: row["until"] for row in rows}

    def _settled_results(self, run_id: str, since: float) -> Iterator[Result]:
        with self._database.read() as tx:
            rows = tx.rows(sql.SETTLED_POSITIONS, run=run_id, since=since)
        return self.results_at(run_id, array("q", (row["position"] for row in rows)))

    def results_at(self, run_id: str, positions: Sequence[int]) -> Iterator[Result]:
        """Those of a run's tasks at these positions that are settled, in the order of the plan."""
        for first in range(0, len(positions), BATCH):
            some = list(positions[first : first + BATCH])
            with self._database.read() as tx:
                rows = tx.rows(sql.RESULTS_AT, run=run_id, positions=some)
            yield from (result for result in map(_result, rows) if result.status.settled)

    def latest_results(self, tasks: Sequence[Task]) -> Mapping[str, Result]:
        """Results of the latest generation of these tasks, where the store knows one, by their base key."""
        found: dict[str, Result] = {}
        with self._database.read() as tx:
            names = {task.organization for task in tasks}
            present = {name: (organizations.find(tx, name) or {}).get("identity", name) for name in names}
            for first in range(0, len(tasks), BATCH):
                keys = {_key_under(present, task): task for task in tasks[first : first + BATCH]}
                for base_key, row in _latest_known(tx, list(keys)).items():
                    task = keys[base_key]
                    known = replace(task, organization=row["identity"], generation=row["generation"])
                    found[task.base_key] = to_result(row, known, None)
        return found


# -- what others load, too ---------------------------------------------------------------------------------


def load_run(tx: Transaction, run_id: str) -> Run:
    """The run with exactly this id; raises UsageError."""
    row = tx.row(sql.RUN, run=run_id)
    if row is None:
        raise UsageError(f"there is no run {run_id!r}: `tesnap runs` lists all")
    return to_run(row)


def latest_rows(tx: Transaction, keys: Sequence[str]) -> dict[str, Row]:
    """The latest generation of each task that is known, by base key."""
    return {row["base_key"]: row for row in tx.rows(sql.LATEST_TASKS, keys=list(keys))}


# -- the parts of a view -----------------------------------------------------------------------------------


def _find_latest(tx: Transaction, most: int) -> list[Row]:
    return tx.rows(history_sql.RUNS_BEFORE, **FIRST, some=most)


def _find_by_id(tx: Transaction, text: str) -> list[Row]:
    """The run with this id, or else those whose ids begin so."""
    beyond = text + chr(sys.maxunicode)
    exact = tx.rows(sql.RUN, run=text)
    ids = tx.rows(history_sql.RUNS_BEGINNING, text=text, beyond=beyond, some=NAMED + 1) if not exact else ()
    return exact or [row for one in ids for row in tx.rows(sql.RUN, run=one["id"])]


def _is_being_planned(tx: Transaction, run_id: str) -> bool:
    """True if a living process stores the plan of the run with exactly this id."""
    rows = tx.rows(freezing_sql.PLANNED_RUNS)
    return any(row["id"] == run_id and tx.alive(row["planner"]) for row in rows)


def _not_one_run(text: str, ids: Sequence[str], *, many: bool) -> UsageError:
    """The error of a word that means several runs (`many`), or none of these ids."""
    if many:
        return UsageError(f"{text!r} begins several run ids: {', '.join(ids[:NAMED])}")
    if not ids:
        return UsageError(f"there is no run {text!r}: nothing has been run with this store yet")
    near = closest(text, ids, most=3, cutoff=0.5) or ids[:3]
    return UsageError(f"there is no run {text!r}; there are {', '.join(near)}: `tesnap runs` lists all")


def to_counts(row: Row) -> Counts:
    """The counts of some tasks that are alike."""
    status = Status(row["status"])
    name = "existing" if status is Status.CREATED and not row["here"] else status.value
    refused = row["tasks"] if status is Status.FAILED and row["untried"] else 0
    return Counts(**{name: row["tasks"]}, refused=refused)


def _view(tx: Transaction, run: Run, processes: int) -> RunView:
    counts: dict[str, Counts] = defaultdict(Counts)
    for row in tx.rows(sql.COUNTS, run=run.id):
        counts[row["identity"]] += to_counts(row)
    names = {row["identity"]: row["name"] for row in tx.rows(sql.RUN_ORGANIZATIONS, run=run.id)}
    return RunView(run=run, counts=dict(counts), names=names, processes=processes)


def count_processes(tx: Transaction) -> Mapping[str, int]:
    """How many live processes serve each run."""
    found: dict[str, int] = defaultdict(int)
    for row in of_live_owners(tx, tx.rows(sql.SERVERS)):
        found[row["run"]] += 1
    return found


def of_live_owners(tx: Transaction, rows: Sequence[Row]) -> Iterator[Row]:
    """The rows that name a living process; each of the processes is looked at once."""
    alive = {owner for owner in {row["owner"] for row in rows} if tx.alive(owner)}
    return (row for row in rows if row["owner"] in alive)


def _to_serving_process(row: Row) -> ServingProcess:
    pairs = (text.rpartition("/") for text in json.loads(row["refused"]))
    return ServingProcess(
        refused=frozenset((account_group, public == "1") for account_group, _, public in pairs),
        stopped=Reason(row["stopped"]) if row["stopped"] else None,
        stopped_until=row["stopped_until"],
    )


def _result(row: Row) -> Result:
    return to_result(row, to_task(row), row["run"])


def _latest_known(tx: Transaction, keys: Sequence[str]) -> dict[str, Row]:
    """The latest generation of each task, by base key; of a forgotten one what its stub says."""
    known = [*stubs.find(tx, keys), *latest_rows(tx, keys).values()]
    return {row["base_key"]: row for row in sorted(known, key=itemgetter("generation"))}


def _key_under(identities: Mapping[str, str], task: Task) -> str:
    """The task's key under the identity that its organization has by now."""
    identity = identities[task.organization]
    return task.base_key if identity == task.organization else replace(task, organization=identity).base_key
