"""A server whose clock is not ours: when a window is over, and which saved event can be the lost one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.api.response import Answer
from orchestrator.core.clock import SystemClock, utc_text
from orchestrator.core.jobs import Job, OnUncertain, TestRef, WindowSpec
from orchestrator.core.tasks import Lease, Status
from orchestrator.simulator import Simulator, TenantTest, example_world, script_faults, serve
from orchestrator.worker.organization import ApiCalendar
from orchestrator.worker.worker import Worker
from tests.support.http import PERIOD, PROMPT, TIMEOUT, jobfile_for, run_over_http
from tests.support.server_log import refusals
from tests.support.virtual import Notebook, Stage, VirtualSender, drive

StageMaker = Callable[..., Stage]
TEN_MINUTES = 600.0
OFFSETS = [TEN_MINUTES, -TEN_MINUTES]
AHEAD_OR_BEHIND = pytest.mark.parametrize("offset", OFFSETS, ids=["ahead", "behind"])


class Dated(VirtualSender):
    """A sender that reads the `Date` of its answers, as the client does."""

    offset = 0.0

    def _finish(self, lease: Lease, ended: Answer) -> None:
        super()._finish(lease, replace(ended, date_offset=self.offset) if ended.status else ended)


def with_dates(at: Stage, worker: Worker, *, surveyed: bool = True) -> None:
    """Have the process learn of the server's clock: from the survey, or only from its first answer."""
    offset = at.simulator.world.clock_offset
    at.senders[-1].__class__ = Dated
    at.senders[-1].offset = offset  # type: ignore[attr-defined] # of the class it has by now
    if surveyed:
        for served in worker._organizations:
            served.calendar = ApiCalendar.read(offset, at.clock)


# -- windows -----------------------------------------------------------------------------------------------


def ending_at(at: Stage, end: float) -> WindowSpec:
    """The hour until this moment."""
    return WindowSpec(start=utc_text(end - 3600), end=utc_text(end))


@AHEAD_OR_BEHIND
def test_a_window_is_over_when_the_server_s_clock_says_so(stage: StageMaker, offset: float) -> None:
    """Its request goes out at the window's end and the delay of its data, by that clock."""
    at = stage(tests=3, switches={"clock_offset": offset})
    end = at.clock.wall() + 3600
    worker, _ = at.worker(at.jobfile(1, windows=(ending_at(at, end),), data_delay=90.0))
    with_dates(at, worker)
    (ending,) = drive(at.timeline, [worker])
    assert ending.counts.created == 1
    (post,) = [entry for entry in at.simulator.log if entry.method == "POST"]
    assert post.arrived == pytest.approx(end + 90.0 - offset, abs=1.5)
    assert post.arrived + offset >= end + 90.0


def test_what_the_first_answer_says_of_the_clock_holds_for_those_that_wait_already(stage: StageMaker) -> None:
    """No survey told; the task that waits is asked for anew by the clock that is known since."""
    at = stage(tests=3, switches={"clock_offset": -TEN_MINUTES})
    end = at.clock.wall() + 3600
    plain = at.jobfile(2)
    (job,) = plain.jobs
    jobs = (
        replace(job, name="now", tests=job.tests[:1]),
        replace(job, name="later", tests=job.tests[1:], windows=(ending_at(at, end),), data_delay=60.0),
    )
    worker, _ = at.worker(replace(plain, jobs=jobs))
    with_dates(at, worker, surveyed=False)
    drive(at.timeline, [worker])
    last = max(entry.arrived for entry in at.simulator.log if entry.method == "POST")
    assert last == pytest.approx(end + 60.0 + TEN_MINUTES, abs=1.5)


def served(tmp_path: Path, offset: float, end: float, delay: float) -> float:
    """A whole run over HTTP of one window; how long after its end, by the server's clock, the request arrived."""
    clock = SystemClock()
    world = example_world(1, 1, now=clock.wall(), clock_offset=offset)
    simulator = Simulator(world, period=PERIOD, latency=PROMPT)
    window = WindowSpec(start=utc_text(end - 3600), end=utc_text(end))
    with serve(simulator, clock=clock, hang=TIMEOUT + 1) as url:
        jobfile = jobfile_for(simulator, url, windows=(window,), data_delay=delay)
        ending, _ = run_over_http(simulator, jobfile, tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created) == (0, 1)
    (post,) = [entry for entry in simulator.log if entry.method == "POST"]
    return post.arrived + offset - end


@pytest.mark.socket
@pytest.mark.scaled
@AHEAD_OR_BEHIND
def test_a_window_that_is_not_over_there_is_waited_for(tmp_path: Path, offset: float) -> None:
    """It ends in two seconds by the server's clock, and was long over, or will not be for long, by ours."""
    end = float(int(SystemClock().wall() + offset) + 2)
    # Ten minutes would show the wrong calendar; a busy machine is late by seconds.
    assert 1.0 <= served(tmp_path, offset, end, delay=1.0) <= TEN_MINUTES / 2


def right_our_clock(at: Stage, seconds: float) -> None:
    """NTP sets our calendar; the server's stays as it was."""
    at.clock.set_wall(at.clock.wall() + seconds)
    before = at.simulator.world.clock_offset
    object.__setattr__(at.simulator.world, "clock_offset", before - seconds)


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_a_calendar_that_is_set_while_a_window_is_waited_for(stage: StageMaker, *, known: bool) -> None:
    """An hour slow and then right: the request goes when the window is over, neither sooner nor an hour later."""
    at = stage(tests=3, switches={"clock_offset": 3600.0})
    begun, end = at.clock.boot(), at.clock.wall() + 3600 + 3000
    jobfile = at.jobfile(1, windows=(ending_at(at, end),), data_delay=60.0)
    worker, notebook = at.worker(jobfile, offset=3600.0 if known else 0.0)
    at.timeline.at(begun + 100, lambda: right_our_clock(at, 3600.0))
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 1), notebook.results
    assert at.clock.boot() - begun == pytest.approx(3060.0, abs=3.0)


# -- evidence ----------------------------------------------------------------------------------------------


def lost(at: Stage) -> Notebook:
    """A run of one public test, called as the test is, whose answer is lost, or whose request was."""
    window = ending_at(at, at.clock.wall() - 2 * TEN_MINUTES)  # over by either clock
    worker, notebook = at.worker(at.jobfile(1, windows=(window,), is_public=True, display_name="{test}"))
    with_dates(at, worker)
    drive(at.timeline, [worker])
    return notebook


@AHEAD_OR_BEHIND
def test_a_lost_answer_is_found_whatever_the_server_s_clock_says(stage: StageMaker, offset: float) -> None:
    """Its saved event was created after the grant by the clock that dates it."""
    at = stage(tests=3, faults=script_faults(["reset-after"]), switches={"clock_offset": offset})
    (result,) = lost(at).results
    assert (result.status, result.found) == (Status.CREATED, "saved_event")


@pytest.mark.parametrize("seconds", [3600.0, -3600.0], ids=["forward", "back"])
def test_a_lost_answer_is_found_though_our_calendar_was_set_since(stage: StageMaker, seconds: float) -> None:
    """The survey knew how far it was off; between the grant and the look it is set right."""
    at = stage(tests=3, faults=script_faults(["reset-after"]), switches={"clock_offset": seconds})
    window = ending_at(at, at.clock.wall() - 3 * 3600)
    jobfile = at.jobfile(1, windows=(window,), is_public=True, display_name="{test}")
    worker, notebook = at.worker(jobfile, offset=seconds)
    at.timeline.at(at.clock.boot() + 50, lambda: right_our_clock(at, seconds))
    drive(at.timeline, [worker])
    (result,) = notebook.results
    assert (result.status, result.found) == (Status.CREATED, "saved_event")


def saved_before(at: Stage, seconds: float) -> None:
    """Somebody made a saved event of the same name, so long ago by the server's clock."""
    (organization,) = at.simulator.world.organizations
    (group,) = organization.account_groups
    created = at.clock.wall() + at.simulator.world.clock_offset - seconds
    event = TenantTest(test_id="999", name=group.tests[0].name, saved_event=True, created=created)
    at.simulator._origin._saved[organization.org_id, group.aid].append(event)


@pytest.mark.parametrize("offset", [0.0, *OFFSETS], ids=["same", "ahead", "behind"])
def test_a_saved_event_older_than_the_grant_is_somebody_else_s(stage: StageMaker, offset: float) -> None:
    """The request never arrived; an event of the same name from before proves nothing."""
    at = stage(tests=3, faults=script_faults(["reset-before"]), switches={"clock_offset": offset})
    saved_before(at, 5.0)
    (result,) = lost(at).results
    assert (result.status, result.found) == (Status.UNCERTAIN, None)


def test_a_saved_event_that_the_store_knows_is_another_task_s(stage: StageMaker) -> None:
    """Two tasks of one name, side by side: the one that was made is no evidence of the one that was lost."""
    at = stage(tests=4, faults=script_faults([None, "reset-before"]))
    notebook = run_of_one_name(at)
    assert sorted(r.status for r in notebook.results) == [Status.CREATED, Status.CREATED, Status.UNCERTAIN]
    assert len({r.snapshot.event_id for r in notebook.results if r.snapshot}) == 2


def test_of_two_lost_answers_of_one_name_each_finds_its_own(stage: StageMaker) -> None:
    """An event that has settled one task settles no other one."""
    at = stage(tests=4, faults=script_faults([None, "reset-after", "reset-after"]))
    notebook = run_of_one_name(at)
    assert [r.status for r in notebook.results] == [Status.CREATED] * 3
    assert len({r.snapshot.event_id or r.snapshot.id for r in notebook.results if r.snapshot}) == 3


def test_one_event_settles_one_of_two_lost_tasks(stage: StageMaker) -> None:
    """One of the two was made: nobody knows which, and no more than one is said to be."""
    at = stage(tests=4, faults=script_faults([None, "reset-after", "reset-before"]))
    notebook = run_of_one_name(at)
    assert sorted(r.status for r in notebook.results) == [Status.CREATED, Status.CREATED, Status.UNCERTAIN]


def run_of_one_name(at: Stage) -> Notebook:
    """Three snapshots that are all called the same."""
    (organization,) = at.simulator.world.organizations
    job = Job(
        name="alike",
        organizations=(organization.name,),
        tests=tuple(TestRef(id=test.test_id) for test in organization.account_groups[0].tests[:3]),
        windows=(WindowSpec(last=3600.0),),
        is_public=True,
        display_name="night",
        on_uncertain=OnUncertain.HOLD,
    )
    _, notebook = at.run(at.jobfile(0, jobs=[job]))
    return notebook


@pytest.mark.socket
@pytest.mark.scaled
@AHEAD_OR_BEHIND
def test_over_http_the_survey_and_the_answers_say_how_far_the_clock_is_off(
    tmp_path: Path, offset: float
) -> None:
    """The first answer of the run is lost; its event is found by what the lists' `Date` said before."""
    clock = SystemClock()
    world = example_world(1, 2, now=clock.wall(), clock_offset=offset)
    simulator = Simulator(world, period=PERIOD, latency=PROMPT, faults=script_faults(["reset-after"]))
    with serve(simulator, clock=clock, hang=TIMEOUT + 1) as url:
        jobfile = jobfile_for(simulator, url, timeout=TIMEOUT, is_public=True)
        ending, notebook = run_over_http(simulator, jobfile, tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created) == (0, 2)
    assert [result.found for result in notebook.results if result.found] == ["saved_event"]
    assert refusals(simulator.log) == []
