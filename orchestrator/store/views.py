"""Views: where runs are, what has become of their tasks, and what snapshots there are. Nothing here changes anything."""

from __future__ import annotations

import difflib
import json
import sys
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.core import Counts, Reason, Result, Run, Status, Task, UsageError
from orchestrator.ratelimit import search_end
from orchestrator.store import loss, organizations, sql
from orchestrator.store.database import Database, Row, Transaction
from orchestrator.store.rows import BATCH, kind, to_bare_task, to_result, to_run, to_task


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingProcess:
    """One live process at one organization of a run: the kinds refused it, and why it sends nothing at all.

    `stopped_until` is until when that may change by itself, in epoch seconds.
    """

    refused: frozenset[tuple[str, bool]] = frozenset()
    stopped: Reason | None = None
    stopped_until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The lost answers of a run that are looked for in one organization: how many, from when, until when (store time).

    The end holds for a run with nothing pending.
    """

    tasks: int
    due: float
    ends_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A store that is not all that was kept in its place: why, and when that was noticed (epoch seconds).

    `ended`: a run has ended cleanly since then.
    """

    cause: str
    at: float
    ended: bool


class Views:
    """All that can be seen of runs and snapshots, each view as the store is when it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_run(self, text: str) -> Run:
        """The run with this id, unique prefix, or the latest for `last`; raises `UsageError` naming near ones."""
        with self._database.read() as tx:
            ids = [str(row["id"]) for row in tx.rows(sql.RUN_IDS)]
            return load_run(tx, _choose(text, ids))

    def runs(self) -> list[RunView]:
        """All runs, the latest first."""
        with self._database.read() as tx:
            processes = _count_processes(tx)
            found = [to_run(row) for row in tx.rows(sql.RUNS)]
            return [_view(tx, run, processes[run.id]) for run in found]

    def run(self, run_id: str) -> RunView:
        """One run with its counts by organization."""
        with self._database.read() as tx:
            return _view(tx, load_run(tx, run_id), _count_processes(tx)[run_id])

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
            for row in _of_live_owners(tx, tx.rows(sql.SERVED, run=run_id)):
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
        """A number for each organization of the run that changes whenever a task or token of it does."""
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
                for base_key, row in latest_rows(tx, list(keys)).items():
                    task = keys[base_key]
                    known = replace(task, organization=row["identity"], generation=row["generation"])
                    found[task.base_key] = to_result(row, known, None)
        return found

    def snapshots(self, *, settled_since: float | None = None) -> Iterator[tuple[str, Result]]:
        """Every snapshot that is known as created, over all runs and each once, the latest first.

        With the id of the run that made it (empty: none did), which says what its organization is called.
        `settled_since` is epoch seconds. The tasks have neither job nor priority.
        """
        wall, before = sys.float_info.max, 0
        while True:
            with self._database.read() as tx:
                rows = tx.rows(sql.MADE, since=settled_since or 0.0, wall=wall, before=before, some=BATCH)
            if not rows:
                return
            for row in rows:
                yield str(row["lease_run"] or ""), to_result(row, to_bare_task(row), None)
            wall, before = rows[-1]["settled_wall"], rows[-1]["id"]


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


def _choose(text: str, ids: Sequence[str]) -> str:
    """The id that is meant by one, by its beginning or by `last`, of ids of which the latest is the first."""
    if not ids:
        raise UsageError(f"there is no run {text!r}: nothing has been run with this store yet")
    if text == "last":
        return ids[0]
    meant = [text] if text in ids else [name for name in ids if name.startswith(text)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(f"{text!r} begins several run ids: {', '.join(meant[:5])}")
    near = difflib.get_close_matches(text, ids, n=3, cutoff=0.5) or ids[:3]
    raise UsageError(f"there is no run {text!r}; there are {', '.join(near)}: `tesnap runs` lists all")


def _view(tx: Transaction, run: Run, processes: int) -> RunView:
    counts: dict[str, Counts] = defaultdict(Counts)
    for row in tx.rows(sql.COUNTS, run=run.id):
        status = Status(row["status"])
        name = "existing" if status is Status.CREATED and not row["here"] else status.value
        refused = row["tasks"] if status is Status.FAILED and row["untried"] else 0
        counts[row["identity"]] += Counts(**{name: row["tasks"]}, refused=refused)
    names = {row["identity"]: row["name"] for row in tx.rows(sql.RUN_ORGANIZATIONS, run=run.id)}
    return RunView(run=run, counts=dict(counts), names=names, processes=processes)


def _count_processes(tx: Transaction) -> Mapping[str, int]:
    """How many live processes serve each run."""
    found: dict[str, int] = defaultdict(int)
    for row in _of_live_owners(tx, tx.rows(sql.SERVERS)):
        found[row["run"]] += 1
    return found


def _of_live_owners(tx: Transaction, rows: Sequence[Row]) -> Iterator[Row]:
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


def _key_under(identities: Mapping[str, str], task: Task) -> str:
    """The task's key under the identity that its organization has by now."""
    identity = identities[task.organization]
    return task.base_key if identity == task.organization else replace(task, organization=identity).base_key
