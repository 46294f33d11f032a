"""A backup that is taken while a run works, and put back after that has gone on: on real files, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.core.tasks import Status
from orchestrator.store.backup import back_up, restore
from tests.crash.judge import busiest
from tests.support.server_log import creations, find_duplicates, refusals
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]
STORED = 12


def lose(store: Path) -> None:
    for name in ("", "-wal", "-shm"):
        Path(f"{store}{name}").rename(f"{store}.before{name}")


@pytest.mark.parametrize("lost", [302.5, 310.0, 500.0])
@pytest.mark.parametrize("copied", [0.05, 0.2, 0.5, 100.0, 301.3, 302.0])
def test_a_backup_of_a_run_at_work_carries_on(stage: StageMaker, copied: float, lost: float) -> None:
    """Never over the limit, nothing left out, and nothing made twice unsaid."""
    at = stage(tests=STORED)
    store, file, start = Path(at.store), Path(at.store).with_name("backup.db"), at.clock.boot()
    jobs = at.jobfile(STORED)
    old, _ = at.worker(jobs)
    at.timeline.at(start + copied, lambda: back_up(at.store, file, at.clock))
    at.timeline.at(start + lost, lambda: lose(store))
    drive(at.timeline, [old])
    assert not store.exists()
    at.stores.pop().close()
    made_before = len(creations(at.simulator.log))
    restore(at.store, file, at.clock)
    ending, notebook = at.run(jobs)
    log = at.simulator.log
    assert refusals(log) == []
    assert busiest(log, at.limit.per) <= 5
    assert ending.counts.total == STORED
    assert ending.counts.pending == 0
    results = {one.task.test_id: one for one in notebook.results}
    assert {one.status for one in results.values()} <= {Status.CREATED, Status.UNCERTAIN}
    made = creations(log)
    assert {entry.test for entry in made} == set(results)
    assert [
        entry.test for entry in made[made_before:] if not results[str(entry.test)].duplicate_possible
    ] == []
    again = {entry.test for entry in made[:made_before]} & {entry.test for entry in made[made_before:]}
    assert len(find_duplicates(log)) == len(again)
