"""The store's file is moved away under a run, and the same run is started again: on real files, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.output.sentences import last_line
from tests.crash.judge import busiest
from tests.support.server_log import find_duplicates, refusals
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]
STORED = 12


def rename_all(store: Path) -> None:
    for name in ("", "-wal", "-shm"):
        Path(f"{store}{name}").rename(f"{store}.old{name}")


def rename_it_alone(store: Path) -> None:
    store.rename(f"{store}.old")


def remove_all(store: Path) -> None:
    for name in ("", "-wal", "-shm"):
        Path(f"{store}{name}").unlink()


@pytest.mark.parametrize("lose", [rename_all, rename_it_alone, remove_all], ids=lambda lose: lose.__name__)
@pytest.mark.parametrize("moment", [0.5, 1.5, 100.0, 302.5])
def test_the_old_process_stops_and_the_new_one_keeps_the_limit(
    stage: StageMaker, lose: Callable[[Path], None], moment: float
) -> None:
    """With 5, and what it made in its hands; what the new one makes again it marks."""
    at = stage(tests=STORED)
    jobs = at.jobfile(STORED)
    old, first = at.worker(jobs)
    workers, notebooks = [old], [first]

    def lose_and_start_again() -> None:
        lose(Path(at.store))
        worker, notebook = at.worker(jobs)
        workers.append(worker)
        notebooks.append(notebook)

    at.timeline.at(at.clock.boot() + moment, lose_and_start_again)
    endings = drive(at.timeline, workers)
    assert [ending.exit_code for ending in endings] == [5, 0]
    (told,) = [event.text for event in first.events if event.name == "store.gone"]
    assert "was renamed, replaced or removed while this process had it open" in told
    assert "(store): tesnap resume r1" in last_line(endings[0])
    log, period = at.simulator.log, at.limit.per
    assert refusals(log) == []
    assert busiest(log, period) == 5
    assert {one.duplicate_possible for one in notebooks[1].results} == {True}
    assert bool(find_duplicates(log)) == (moment < 60)  # later the same words mean another window


def test_a_store_that_is_lost_between_two_runs_is_told_of(stage: StageMaker) -> None:
    """The next run waits for one hold, marks what it makes, and the one after it is as always."""
    at = stage(tests=STORED)
    ending, _ = at.run(at.jobfile(STORED))
    assert ending.exit_code == 0
    at.stores.pop().close()
    Path(at.store).unlink()
    ending, notebook = at.run(at.jobfile(STORED), run_id="r2")
    assert ending.exit_code == 0
    assert {one.duplicate_possible for one in notebook.results} == {True}
    at.timeline.go_to(at.clock.boot() + 1.0)
    _, later = at.run(at.jobfile(STORED), run_id="r3", again=True)
    assert {one.duplicate_possible for one in later.results} == {False}
    assert refusals(at.simulator.log) == []
