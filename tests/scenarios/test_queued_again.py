"""A snapshot that failed in a run at work, and that somebody queues again before that run has ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.core.jobs import OnUncertain, WindowSpec
from orchestrator.core.tasks import RunState, Status
from orchestrator.simulator import script_faults
from orchestrator.store.views import RunView
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]
WINDOW = (WindowSpec(start="2026-11-18T08:00:00Z", end="2026-11-18T09:00:00Z"),)


@pytest.mark.parametrize("by", ["another run", "resume --failed"])
@pytest.mark.parametrize("after", [100.0, 303.2], ids=["while some wait", "with the last on the wire"])
def test_the_run_makes_it_and_tells_it_once_more(stage: StageMaker, by: str, after: float) -> None:
    """Its output has the link, its counts and its exit code are true, and it does not end before."""
    at = stage(tests=12, faults=script_faults(["400"]))
    first = at.jobfile(10, windows=WINDOW)
    worker, notebook = at.worker(first, run_id="r1")
    workers = [worker]

    def again() -> None:
        if by == "another run":
            other, _ = at.worker(at.jobfile(1, name="other", windows=WINDOW), run_id="r2", seed=9)
        else:
            at.open().runs.retry_failed("r1")
            other, _ = at.worker(first, run_id="r1", seed=9)
        workers.append(other)

    at.timeline.at(at.clock.boot() + after, again)
    endings = drive(at.timeline, workers, longest=40_000)
    assert {(ending.exit_code, ending.counts.pending) for ending in endings} == {(0, 0)}
    told = [result.status for result in notebook.results if result.task.position == 0]
    assert told == [Status.FAILED, Status.CREATED]
    assert len(notebook.results) == 11
    assert at.open().views.run("r1").run.state is RunState.FINISHED


def test_a_resend_that_another_process_queues_at_the_last_moment_is_waited_for(stage: StageMaker) -> None:
    """As many ends were told as there are now, though one of them is no end any more."""
    at = stage(tests=3, faults=script_faults(["reset-after"]))
    store, other = at.open(), at.open()
    worker, _ = at.worker(at.jobfile(2, on_uncertain=OnUncertain.RESEND), store=store)
    view = store.views.run

    def meanwhile(run_id: str) -> RunView:
        for lease, _ in other.uncertain.due(run_id):
            other.uncertain.conclude(lease, found=None, resend=True)
        return view(run_id)

    store.views.run = meanwhile  # type: ignore[method-assign] # between this process's look and its count
    (ending,) = drive(at.timeline, [worker], longest=40_000)
    assert (ending.exit_code, ending.counts.created) == (0, 2)


@pytest.mark.parametrize("seed", [0, 1, 21, 23, 25, 45])
def test_it_is_told_whoever_makes_it_and_whenever(stage: StageMaker, seed: int) -> None:
    """The other process may settle it between two looks of this one, which ends then."""
    at = stage(tests=12, faults=script_faults(["400"]), latency=(2.2, 2.0), seed=seed)
    jobfile = at.jobfile(3, windows=WINDOW)
    worker, notebook = at.worker(jobfile, run_id="r1")
    workers = [worker]

    def once_it_failed() -> None:
        if any(result.status is Status.FAILED for result in notebook.results):
            at.open().runs.retry_failed("r1")
            workers.append(at.worker(jobfile, run_id="r1", seed=9)[0])
        else:
            at.timeline.at(at.clock.boot() + 0.5, once_it_failed)

    at.timeline.at(at.clock.boot() + 0.5, once_it_failed)
    endings = drive(at.timeline, workers, longest=40_000)
    assert {ending.exit_code for ending in endings} == {0}
    told = [result.status for result in notebook.results if result.task.position == 0]
    assert told == [Status.FAILED, Status.CREATED]


def test_what_is_settled_by_hand_in_a_run_at_work_is_made_and_told(stage: StageMaker) -> None:
    """It was told as uncertain; its link is in the output all the same."""
    at = stage(tests=12, faults=script_faults(["reset-before"]))
    worker, notebook = at.worker(at.jobfile(8))

    def by_hand() -> None:
        other = at.open()
        lost = next(iter(other.views.results("r1")))
        assert [result.status for result in notebook.results if result.task.position == 0] == [
            Status.UNCERTAIN
        ]
        other.uncertain.settle_by_hand("r1", lost.task.key, made=None)

    at.timeline.at(at.clock.boot() + 150, by_hand)
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 8)
    told = [result.status for result in notebook.results if result.task.position == 0]
    assert told == [Status.UNCERTAIN, Status.CREATED]


def test_a_stop_after_the_last_answer_is_none(stage: StageMaker) -> None:
    """The signal came while the only request was on the wire: all is there, and nothing is to be carried on."""
    at = stage(tests=3)
    worker, _ = at.worker(at.jobfile(1))
    at.timeline.at(at.clock.boot() + 0.1, lambda: worker.ask_to_stop("SIGTERM"))
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 1)
    assert at.open().views.run("r1").run.state is RunState.FINISHED
