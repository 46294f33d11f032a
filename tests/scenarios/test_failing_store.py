"""A store that does not answer for a while: nothing goes out without it, and nothing is forgotten."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.core.errors import StoreUnavailable
from orchestrator.core.jobs import RetryRules
from orchestrator.output.sentences import last_line
from orchestrator.simulator import script_faults
from orchestrator.store.store import Store
from orchestrator.worker.sender import Looked
from tests.support.server_log import find_duplicates, most_in_any_window
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]

CALLS = (
    "uncertain.conclude",
    "runs.end",
    "uncertain.due",
    "queue.grant",
    "uncertain.known_snapshots",
    "now",
    "queue.recover",
    "views.results",
    "queue.mark_sending",
    "queue.serve",
    "queue.settle",
    "views.versions",
    "views.run",
)


class Failing:
    """A call of a store that fails a number of times, before or after it was carried out."""

    def __init__(
        self, store: Store, call: Callable[..., Any], *, first: int, times: float, after: bool
    ) -> None:
        self._store, self._call = store, call
        self._first, self._times, self._after = first, times, after

    def __call__(self, *what: Any, **more: Any) -> Any:
        self._first -= 1
        if self._first > 0 or self._times <= 0:
            return self._call(*what, **more)
        self._times -= 1
        if self._after:
            self._unheard_of(self._call(*what, **more))
        raise StoreUnavailable("it does not answer")

    def _unheard_of(self, result: object) -> None:
        """The commit was carried out, and this process was not told."""
        for grant in result if isinstance(result, list) else ():
            for lease in getattr(grant, "leases", ()):
                self._store.queue._known.discard((lease.task.key, lease.attempt))


def failing(store: Store, call: str, *, first: int = 1, times: float = 1, after: bool = False) -> None:
    """Have a call, such as `queue.grant`, fail from the first so-manieth time on."""
    name, part = call.rpartition(".")[2], part_of(store, call)
    setattr(part, name, Failing(store, getattr(part, name), first=first, times=times, after=after))


def part_of(store: Store, call: str) -> object:
    """What has this call: the store, or a part of it."""
    part, dot, _ = call.partition(".")
    return getattr(store, part) if dot else store


@pytest.mark.parametrize("times", [1, 20])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_store_that_fails_for_a_while_loses_nothing(
    stage: StageMaker, call: str, *, after: bool, times: int
) -> None:
    """Whichever call fails: the run ends, each task has one record, and what may exist twice says so."""
    at = stage(tests=8, faults=script_faults([None, "reset-after", "500"]))
    store = at.open()
    worker, notebook = at.worker(at.jobfile(8), store=store)
    failing(store, call, first=2, times=times, after=after)
    (ending,) = drive(at.timeline, [worker], longest=40_000)
    counts, unwritten = ending.counts, call in ("runs.end", "queue.serve") and ending.exit_code == 5
    assert (counts.total, counts.pending) == (8, 0)
    assert ending.exit_code == 3 or unwritten
    assert sorted(r.task.position for r in notebook.results) == list(range(8))
    said = {r.task.test_id: r for r in notebook.results}
    assert all(said[wanted[2] or ""].duplicate_possible for wanted in find_duplicates(at.simulator.log))
    assert most_in_any_window(at.simulator.log, at.simulator.world.organizations[0].org_id, 300.0) <= 5


@pytest.mark.parametrize("call", ["now", "uncertain.known_snapshots", "uncertain.conclude"])
def test_a_store_that_fails_while_a_look_is_collected_does_not_hang_the_run(
    stage: StageMaker, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The look is made again, and its task has its record."""
    at = stage(tests=3, faults=script_faults([None, "reset-after"]))
    store = at.open()
    worker, notebook = at.worker(at.jobfile(2, is_public=True), store=store)
    collect = worker._lost_answers.end_look

    def once(end: Looked, *, stopping: bool) -> None:
        monkeypatch.undo()
        failing(store, call)
        collect(end, stopping=stopping)

    monkeypatch.setattr(worker._lost_answers, "end_look", once)
    (ending,) = drive(at.timeline, [worker], longest=40_000)
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 2, 2)


def test_an_answer_that_was_stored_unheard_was_taken_by_nobody(stage: StageMaker) -> None:
    """The commit was carried out and only the store's word for it was lost."""
    at = stage(tests=3)
    store = at.open()
    worker, notebook = at.worker(at.jobfile(3), store=store)
    failing(store, "queue.settle", first=2, times=1, after=True)
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 3, 3)
    assert "lease.lost" not in [event.name for event in notebook.events]


def test_nothing_is_sent_without_a_durable_intent(stage: StageMaker) -> None:
    """While the commit before the first byte fails, not one request arrives."""
    at = stage(tests=3)
    store = at.open()
    worker, _ = at.worker(at.jobfile(3), store=store)
    failing(store, "queue.mark_sending", times=5)
    at.senders[-1]._commit = store.queue.mark_sending
    posts: list[int] = []
    at.timeline.at(at.clock.boot() + 3, lambda: posts.append(_posts(at)))
    (ending,) = drive(at.timeline, [worker])
    assert (posts, ending.exit_code, ending.counts.created) == ([0], 0, 3)


def _posts(at: Stage) -> int:
    return sum(entry.method == "POST" for entry in at.simulator.log)


def test_a_store_that_is_gone_for_good_ends_the_run_with_true_words(stage: StageMaker) -> None:
    """After `within` the run stops with code 5; its counts still add up, and its last line says how to go on."""
    at = stage(tests=8)
    store = at.open()
    worker, notebook = at.worker(at.jobfile(8), store=store)

    def gone() -> None:
        for call in ("views.versions", "views.run", "queue.settle", "queue.grant", "queue.serve"):
            setattr(part_of(store, call), call.rpartition(".")[2], _silent)

    at.timeline.at(at.clock.boot() + 100, gone)
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (5, 5, 3)
    assert ending.pending_reasons == {"store": 3}
    assert len(notebook.results) == 5
    assert last_line(ending) == "5 created, 3 pending (store): tesnap resume r1"
    assert ending.seconds == pytest.approx(100 + RetryRules().within, abs=5)


def _silent(*_what: object, **_more: object) -> object:
    raise StoreUnavailable("it does not answer")


def test_a_store_that_never_answered_leaves_everything_pending(stage: StageMaker) -> None:
    """Counts add up even when the store could not be asked once."""
    at = stage(tests=4)
    store = at.open()
    worker, _ = at.worker(at.jobfile(4), store=store)
    failing(store, "views.run", times=math.inf)
    worker.ask_to_stop("SIGTERM")
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.pending, ending.pending_reasons) == (5, 4, {"store": 4})


def test_what_is_known_is_not_told_twice(stage: StageMaker) -> None:
    """Reading results fails in the middle: those told before are not told again."""
    at = stage(tests=8)
    store = at.open()
    worker, notebook = at.worker(at.jobfile(8), store=store)
    failing(store, "views.results", first=3, times=4, after=True)
    drive(at.timeline, [worker])
    assert sorted(r.task.position for r in notebook.results) == list(range(8))
