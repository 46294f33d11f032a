"""Several processes at one store: they share an organization's tokens, and make nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from orchestrator.store.grants import Ask, Grant
from orchestrator.store.queue import Queue
from tests.crash.judge import busiest, snapshot_refusals
from tests.crash.load import PERIOD
from tests.crash.sharing import all_came_to_their_end, share, start_at_once
from tests.support.postgres import new_database
from tests.support.server_log import creations, find_duplicates
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store in real time."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return new_database(request.getfixturevalue("server_url"), "processes")


@pytest.mark.process
@pytest.mark.scaled
def test_eight_processes_share_one_organization(store: str, tmp_path: Path) -> None:
    """Fifteen snapshots of one run: no refusal, none twice; `make crash` measures that no slot is left lying."""
    shared = share(store, tmp_path, processes=8, tests=15)
    assert all_came_to_their_end(shared)
    assert len(creations(shared.log)) == 15
    assert find_duplicates(shared.log) == {}
    assert snapshot_refusals(shared.log) == []
    assert busiest(shared.log, PERIOD) <= 5


@pytest.mark.process
@pytest.mark.scaled
def test_ten_starts_at_once_make_each_snapshot_once_and_print_ten_outputs(store: str, tmp_path: Path) -> None:
    """Each of the ten says of each snapshot that it made it or that it exists; together they made each once."""
    starts, log = start_at_once(store, tmp_path, starts=10, tests=6)
    assert {start.code for start in starts} == {0}, [start.said for start in starts]
    for start in starts:
        events = [record["event"] for record in start.records]
        assert (events[0], events[-1]) == ("run.started", "run.finished")
        assert set(events[1:-1]) <= {"snapshot.created", "snapshot.existing"}
        assert len({record["task"] for record in start.records[1:-1]}) == len(events) - 2 == 6
        assert sum(start.counts.values()) == 6
        assert start.counts["created"] == events.count("snapshot.created")
    assert sum(start.counts["created"] for start in starts) == 6
    assert (len(creations(log)), find_duplicates(log), snapshot_refusals(log)) == (6, {}, [])


class Overtaken(Queue):
    """A queue in which something happens right before its second answer to an ask for a token."""

    happens: Callable[[], object]
    asked = 0

    def grant(self, asks: Sequence[Ask]) -> list[Grant]:
        self.asked += 1
        if self.asked == 2:
            self.happens()
        return super().grant(asks)


def test_a_run_that_ends_while_another_process_stores_its_last_answer_prints_that_too(
    either_stage: StageMaker,
) -> None:
    """Between its look at the store and its last ask for a token nothing gets past a process."""
    at = either_stage()
    jobfile, store = at.jobfile(1), at.open()
    store.queue = own = Overtaken(store._database)
    watching, notebook = at.worker(jobfile, store=store)
    sending, _ = at.worker(jobfile)
    sending.open()
    sending.step()  # its one request is on the wire

    def answered() -> None:
        at.timeline.go_to(at.clock.boot() + 2.0)
        sending.step()

    own.happens = answered
    (ending,) = drive(at.timeline, [watching])
    assert own.asked >= 2
    assert ending.counts.created + ending.counts.existing == 1
    assert len(notebook.results) == 1
