"""However many runs a store has: a look at some of them, or a new one, finds its rows by an index."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest

from orchestrator.app.history import describe_unfinished, find_run, limit_conflicts
from orchestrator.core.errors import UsageError
from orchestrator.output.snapshots import SnapshotFilter, find_snapshots
from orchestrator.output.status_text import load_status
from orchestrator.simulator.faults import script_faults
from orchestrator.store import sql
from orchestrator.store.store import Store
from tests.support.history import LongHistory
from tests.support.statements import Recorded
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]

LONG = LongHistory(runs=100, tasks=50, organizations=10)


def run_and_look(at: Stage, store: Store) -> None:
    """Some runs, one of which has lost an answer and one of which is given up half-way, and all looks at them."""
    for number in range(3):
        drive(
            at.timeline,
            [at.worker(at.jobfile(2 + number, is_public=True), run_id=f"new{number}", store=store)[0]],
        )
    worker, _ = at.worker(at.jobfile(6), run_id="open", store=store)
    worker.open()
    worker.step()
    jobfile = at.jobfile(7)
    assert find_run(store.views, jobfile, "new1") is not None
    assert list(describe_unfinished(store.history, jobfile)) == []
    assert list(limit_conflicts(store, {})) == []
    store.runs.look_again("new1")
    with pytest.raises(UsageError):
        store.views.find_run("zzz")
    shown = list(store.history.runs())
    assert store.history.count_runs(before=shown[0].run) == len(shown) - 1
    assert [live.run.id for live in store.history.live_runs()] == ["open"]
    for words in ("last", "new2", "op"):
        found = store.views.find_run(words)
        load_status(store, found.id)
        assert len(list(store.views.results(found.id))) == found.tasks
    assert list(find_snapshots(store, SnapshotFilter(within=60.0))) == []
    assert len(list(islice(find_snapshots(store, SnapshotFilter()), 5))) == 5


def test_nothing_reads_the_history_from_end_to_end(either_stage: StageMaker) -> None:
    """No statement of a run, of a lost answer that is looked for, or of a command that only looks."""
    at = either_stage(tests=8, organizations=2, faults=script_faults([None, "reset-after"]))
    LONG.fill(at.store, "https://api.example.com/v7", at.clock)
    database = Recorded(at.open()._database)
    run_and_look(at, Store(database))
    asked = dict(database.asked)
    assert {sql.KNOWN_SNAPSHOTS, sql.EVIDENCE_DUE, sql.LOOK_AGAIN, sql.SEND_TASK} < asked.keys()
    found = {statement: database.scans(statement, values) for statement, values in asked.items()}
    assert {statement: tables for statement, tables in found.items() if tables} == {}
