"""What one refused account group, or one surprising answer, costs: a few requests of its own, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.core.clock import utc_text
from orchestrator.core.jobs import Job, Priority, TestRef, WindowSpec
from orchestrator.core.tasks import Reason, Status
from orchestrator.output.sentences import last_line
from orchestrator.simulator import Exchange, Fault, LoggedRequest, Request, Simulator, script_faults
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]
OPEN, CLOSED = "2001", "2002"
LAST_HOUR = (WindowSpec(last=3600.0),)


class Guarded(Simulator):
    """A server on which the token's user may make no snapshots in some account groups."""

    closed: frozenset[tuple[str, bool]] = frozenset()

    def accept(self, request: Request, at: float) -> Exchange:
        exchange = super().accept(request, at)
        public = b'"isPublic":true' in request.body.replace(b" ", b"")
        if request.method == "POST" and (request.query.get("aid", OPEN), public) in self.closed:
            return replace(exchange, fault=Fault("403", after=False))
        return exchange


def guarded(at: Stage, *closed: tuple[str, bool]) -> None:
    """Refuse these pairs of account group and is_public."""
    at.simulator.__class__ = Guarded
    at.simulator.closed = frozenset(closed)  # type: ignore[attr-defined] # of the class it has by now


def job_in(at: Stage, group: str, count: int, *, public: bool = False) -> Job:
    """A job for the first tests of an account group."""
    (organization,) = at.simulator.world.organizations
    (tests,) = [one.tests for one in organization.account_groups if one.aid == group]
    return Job(
        name=f"{group}-{public}",
        organizations=(organization.name,),
        account_group=group,
        tests=tuple(TestRef(id=test.test_id) for test in tests[:count]),
        windows=LAST_HOUR,
        is_public=public,
    )


def posts(at: Stage) -> list[LoggedRequest]:
    """The requests for snapshots in the order of their arrival."""
    return sorted((e for e in at.simulator.log if e.method == "POST"), key=lambda entry: entry.arrived)


def refused(at: Stage) -> int:
    """How many of them were answered with 403."""
    return sum(entry.status == 403 for entry in posts(at))


# -- 403 ---------------------------------------------------------------------------------------------------


def test_three_403_leave_all_of_that_account_group_pending(stage: StageMaker) -> None:
    """The other group is served to its end; the last line names the reason and the command."""
    at = stage(tests=8, switches={"account_groups": 2})
    guarded(at, (CLOSED, False))
    jobs = [job_in(at, CLOSED, 8), job_in(at, OPEN, 8)]
    ending, notebook = at.run(at.jobfile(0, jobs=jobs))
    assert (ending.exit_code, ending.counts.created, ending.counts.failed) == (4, 8, 0)
    assert ending.pending_reasons == {Reason.PERMISSION_REFUSED.value: 8}
    assert refused(at) == 3
    assert {r.task.account_group for r in notebook.results if r.status is Status.CREATED} == {OPEN}
    (told,) = [event for event in notebook.events if event.name == "organization.stopped"]
    assert "3 requests for account group 2002 with is_public false refused (403)" in told.text
    assert last_line(ending) == "8 created, 8 pending (permission refused): tesnap resume r1"


@pytest.mark.parametrize("tests", [1, 2, 3])
def test_403_for_all_of_a_small_run_leaves_it_pending(stage: StageMaker, tests: int) -> None:
    """There can be no third one, or no fourth: exit code 4, and each was asked for once."""
    at = stage(tests=tests, switches={"account_groups": 2})
    guarded(at, (CLOSED, False))
    ending, notebook = at.run(at.jobfile(0, jobs=[job_in(at, CLOSED, tests)]))
    assert (ending.exit_code, ending.counts.failed) == (4, 0)
    assert ending.pending_reasons == {Reason.PERMISSION_REFUSED.value: tests}
    assert [result.attempts for result in at.open().views.results("r1")] == [1] * tests
    assert refused(at) == tests
    assert notebook.results == []


def test_a_403_before_the_first_success_fails_its_own_task(stage: StageMaker) -> None:
    """It waits for what others of its kind get; then it is asked for once more, and is the task's own."""
    at = stage(tests=4, faults=script_faults(["403-before", None, None, None, "403-before"]))
    ending, _ = at.run(at.jobfile(4))
    assert (ending.exit_code, ending.counts.created, ending.counts.failed) == (3, 3, 1)


def test_what_is_refused_as_public_is_made_in_the_same_group_as_private(stage: StageMaker) -> None:
    """The rule holds for one account group and one is_public: a region may refuse public ones alone."""
    at = stage(tests=8)
    guarded(at, (OPEN, True))
    jobs = [job_in(at, OPEN, 6, public=True), job_in(at, OPEN, 6)]
    ending, _ = at.run(at.jobfile(0, jobs=jobs))
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (4, 6, 6)
    assert refused(at) == 3


def test_a_group_in_which_something_was_made_is_never_given_up(stage: StageMaker) -> None:
    """Later 403 fail their own tasks; the rest is still tried."""
    at = stage(tests=12, faults=script_faults([None, *["403-before"] * 4]))
    ending, _ = at.run(at.jobfile(12))
    assert (ending.exit_code, ending.counts.created, ending.counts.failed) == (3, 8, 4)


def test_until_something_else_was_answered_refused_requests_go_one_at_a_time(stage: StageMaker) -> None:
    """A missing permission costs one request, not five; once a snapshot is made, the slots are used side by side."""
    at = stage(tests=8, switches={"account_groups": 2}, latency=(4.0, 0.0))
    guarded(at, (CLOSED, False))
    at.run(at.jobfile(0, jobs=[job_in(at, CLOSED, 5), job_in(at, OPEN, 5)]))
    first, second, third, fourth, fifth = (entry.arrived for entry in posts(at)[:5])
    assert second - first >= 4
    assert third - second >= 4
    assert fourth - third >= 4
    assert fifth - fourth >= 4  # the first one that may succeed goes alone, too
    assert [entry.status for entry in posts(at)[:4]] == [403, 403, 403, 201]


def test_a_granted_permission_and_the_same_run_make_the_rest(stage: StageMaker) -> None:
    """What was refused is not remembered: the run is carried on as its last line says."""
    at = stage(tests=8)
    guarded(at, (OPEN, False))
    at.run(at.jobfile(8), run_id="r1")
    guarded(at)
    ending, _ = at.run(at.jobfile(8), run_id="r1")
    assert (ending.exit_code, ending.counts.created) == (0, 8)


def test_a_refused_group_of_a_higher_class_holds_nobody_back(stage: StageMaker) -> None:
    """An incident's rest that stays pending, while one of its windows is still open, does not starve the others."""
    at = stage(tests=10, switches={"account_groups": 2})
    guarded(at, (CLOSED, False))
    end = at.clock.wall() + 3600
    refused = replace(job_in(at, CLOSED, 8), priority=Priority.INCIDENT)
    window = WindowSpec(start=utc_text(end - 3600), end=utc_text(end))
    later = replace(job_in(at, OPEN, 1), name="later", priority=Priority.INCIDENT, windows=(window,))
    batch = replace(job_in(at, OPEN, 10), name="batch", priority=Priority.BATCH)
    incident, _ = at.worker(at.jobfile(0, jobs=[refused, later], name="incident"), run_id="r1")
    plain, notebook = at.worker(at.jobfile(0, jobs=[batch], name="batch"), run_id="r2")
    begun = at.clock.wall()
    drive(at.timeline, [incident, plain])
    assert [result.status for result in notebook.results] == [Status.CREATED] * 10
    assert max(result.settled_wall or end for result in notebook.results) < begun + 3 * at.limit.hold


# -- expect_saved_event ------------------------------------------------------------------------------------


@pytest.mark.parametrize("public", [False, True])
def test_a_surprising_first_answer_costs_one_snapshot_of_forty(stage: StageMaker, *, public: bool) -> None:
    """What came back is not what the job file expects: nothing more is sent, and the last line says what to look at."""
    at = stage(tests=40, switches={"public_is_saved_event": False})
    ending, notebook = at.run(at.jobfile(40, is_public=public, expect_saved_event=public))
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (4, 1, 39)
    assert ending.pending_reasons == {"unexpected_snapshot": 39}
    assert len(posts(at)) == 1
    (told,) = [event for event in notebook.events if event.name == "organization.stopped"]
    assert told.level == "error"
    assert "expect" in told.text
    assert last_line(ending) == (
        "1 created, 39 pending (unexpected snapshot): "
        "look at the first snapshot and at is_public, then tesnap cancel r1"
    )


def test_an_expected_first_answer_costs_nothing(stage: StageMaker) -> None:
    """All forty are made."""
    at = stage(tests=40)
    ending, _ = at.run(at.jobfile(40, is_public=True, expect_saved_event=True))
    assert (ending.exit_code, ending.counts.created) == (0, 40)


def test_a_surprise_in_one_organization_is_no_other_s(stage: StageMaker) -> None:
    """The second organization's job expects nothing, and is served."""
    at = stage(organizations=2, tests=6)
    plain = at.jobfile(6)
    wary = replace(plain.jobs[0], expect_saved_event=True)
    ending, notebook = at.run(replace(plain, jobs=(wary, plain.jobs[1])))
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (4, 7, 5)
    assert len({r.task.organization for r in notebook.results}) == 2
