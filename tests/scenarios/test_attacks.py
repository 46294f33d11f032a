"""What is tried against a run while it goes on: refused tokens, late knowledge, cancelling, stopping, slow lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from orchestrator.core.clock import utc_text
from orchestrator.core.errors import GrantStale
from orchestrator.core.jobs import Job, OnUncertain, TestRef, WindowSpec
from orchestrator.core.tasks import Lease, RunState, Status
from orchestrator.simulator import script_faults
from orchestrator.store.store import Store
from orchestrator.worker.organization import ServedOrganization
from orchestrator.worker.sender import LostAnswer, Sent
from orchestrator.worker.worker import Worker
from tests.support.server_log import most_in_any_window, refusals
from tests.support.virtual import Notebook, Stage, VirtualSender, drive

StageMaker = Callable[..., Stage]
GOOD, BAD = "token-1", "token-of-yesterday"


def served_by(worker: Worker) -> ServedOrganization:
    """The only organization of a worker."""
    (served,) = worker._organizations
    return served


def rotating(at: Stage, worker: Worker) -> ServedOrganization:
    """The token's source always has the good text; what is sent with is what was read last."""
    served = served_by(worker)

    def reload() -> bool:
        before, at.tokens[served.identity] = at.tokens[served.identity], GOOD
        return before != GOOD

    served.reload, served.rereads = reload, True
    return served


def expire(at: Stage, served: ServedOrganization, after: float) -> None:
    """Have the token in use replaced after a while."""
    at.timeline.at(at.clock.boot() + after, lambda: at.tokens.update({served.identity: BAD}))


def refused(at: Stage) -> int:
    """How many requests were answered with 401."""
    return sum(entry.status == 401 for entry in at.simulator.log)


# -- refused tokens ----------------------------------------------------------------------------------------


def test_a_refused_token_costs_one_request_and_leaves_the_rest_pending(stage: StageMaker) -> None:
    """Its text has not changed: the organization stops, exit code 4."""
    at = stage()
    worker, _ = at.worker(at.jobfile(12))
    at.tokens[served_by(worker).identity] = BAD
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.pending, ending.pending_reasons) == (4, 12, {"token_refused": 12})
    assert refused(at) == 1


def test_a_token_that_changes_with_five_requests_on_the_wire_stops_nothing(stage: StageMaker) -> None:
    """All of them are refused, the source is read once, and what went out with the old text says nothing of the new."""
    at = stage(latency=(20.0, 15.0))
    worker, notebook = at.worker(at.jobfile(12))
    served = rotating(at, worker)
    expire(at, served, 200)
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 12, 12)
    assert refused(at) >= 2


def test_a_token_may_be_replaced_again_and_again(stage: StageMaker) -> None:
    """A short-lived token: each time the new text makes snapshots before it is refused itself."""
    at = stage()
    worker, _ = at.worker(at.jobfile(18))
    served = rotating(at, worker)
    for after in (400, 800):
        expire(at, served, after)
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 18)


def test_a_new_text_that_is_refused_too_gets_no_third_attempt(stage: StageMaker) -> None:
    """One attempt for each text: two in all, however often the file is read for two minutes."""
    at = stage()
    worker, _ = at.worker(at.jobfile(12))
    served = served_by(worker)
    at.tokens[served.identity] = BAD
    texts = iter([True])
    served.reload, served.rereads = lambda: next(texts, False), True
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.pending, refused(at)) == (4, 12, 2)


# -- a surprise in what comes back -------------------------------------------------------------------------


def test_a_surprise_in_a_later_job_stops_the_organization_too(stage: StageMaker) -> None:
    """The first job expects nothing; the first answer of the second contradicts what that one expects."""
    at = stage(tests=20)
    org = at.simulator.world.organizations[0]
    ids = [TestRef(id=test.test_id) for test in org.account_groups[0].tests]
    plain = Job(
        name="plain", organizations=(org.name,), tests=tuple(ids[:3]), windows=(WindowSpec(last=3600.0),)
    )
    comes = what_comes(stage(tests=20), plain)
    careful = replace(plain, name="careful", tests=tuple(ids[3:]), expect_saved_event=not comes)
    ending, _ = at.run(at.jobfile(0, jobs=[plain, careful]))
    assert (ending.exit_code, ending.counts.pending >= 12) == (4, True)


def what_comes(at: Stage, job: Job) -> bool:
    """Whether the API makes saved events of this job's snapshots."""
    _, notebook = at.run(at.jobfile(0, jobs=[job]))
    (came,) = {bool(r.snapshot and r.snapshot.saved_event) for r in notebook.results}
    return came


# -- the end of a run --------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_tells_about_what_became_uncertain(stage: StageMaker) -> None:
    """One request hangs; it is cut after 20 s, and its record is printed although nothing was looked for yet."""
    at = stage(faults=script_faults([None, "hang"]))
    worker, notebook = at.worker(at.jobfile(3))
    begun = at.clock.boot()
    at.timeline.at(begun + 5, lambda: worker.ask_to_stop("SIGTERM"))
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.uncertain) == (5, 1)
    assert sorted(r.status for r in notebook.results) == [Status.CREATED, Status.CREATED, Status.UNCERTAIN]
    assert at.clock.boot() - begun == pytest.approx(25, abs=2)


def test_being_asked_twice_means_now(stage: StageMaker) -> None:
    """The second signal cuts what is on the wire."""
    at = stage(faults=script_faults([None, "hang"]))
    worker, _ = at.worker(at.jobfile(3))
    begun = at.clock.boot()
    for after in (5, 6):
        at.timeline.at(begun + after, lambda: worker.ask_to_stop("SIGTERM"))
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.uncertain) == (5, 1)
    assert at.clock.boot() - begun == pytest.approx(6, abs=1.5)


def test_a_cancelled_run_ends_soon_whatever_it_waits_for(stage: StageMaker) -> None:
    """Its windows end in three hours; nobody waits for that once it is given up."""
    at = stage()
    now = at.clock.wall()
    late = WindowSpec(start=utc_text((now + 7200) // 60 * 60), end=utc_text((now + 10_800) // 60 * 60))
    worker, _ = at.worker(at.jobfile(3, windows=(late,)))
    begun, other = at.clock.boot(), at.open()
    at.timeline.at(begun + 100, lambda: other.runs.end("r1", RunState.CANCELLED))
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.pending) == (3, 3)
    assert at.clock.boot() - begun <= 120


# -- evidence ----------------------------------------------------------------------------------------------


class LateLooks(VirtualSender):
    """A sender whose looks for evidence take a while, as they do in life."""

    def look(self, lost: Sequence[LostAnswer]) -> None:
        self._timeline.at(self._clock.boot() + 0.1, lambda: super(LateLooks, self).look(lost))


def test_a_resend_is_made_before_the_run_ends(stage: StageMaker) -> None:
    """The look that queues the last task once more ends between two looks at the store."""
    at = stage(faults=script_faults([None, "reset-after"]))
    worker, notebook = at.worker(at.jobfile(3, on_uncertain=OnUncertain.RESEND))
    at.senders[-1].__class__ = LateLooks
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 3, 3)


# -- slow lines and machines that sleep --------------------------------------------------------------------


class SlowSender(VirtualSender):
    """Every connection takes longer than half the grace."""

    def send(self, lease: Lease) -> None:
        stale = Sent(lease=lease, refused=GrantStale())
        self._timeline.at(self._clock.boot() + 16.0, lambda: self._ended.append(stale))


def test_a_line_too_slow_for_any_grant_ends_the_run_in_the_end(stage: StageMaker) -> None:
    """Nothing is ever sent, so nothing counts as an attempt: after `within` it stops, and says why."""
    at = stage()
    worker, notebook = at.worker(at.jobfile(3))
    at.senders[-1].__class__ = SlowSender
    (ending,) = drive(at.timeline, [worker], longest=8_000)
    assert (ending.exit_code, ending.counts.pending) == (5, 3)
    assert ending.pending_reasons == {"api_unreachable": 3}
    assert any("too long" in event.text for event in notebook.events)


class SleepySender(VirtualSender):
    """The machine sleeps for an hour between the first grant and its first byte."""

    slept = False

    def send(self, lease: Lease) -> None:
        if not self.slept:
            self.slept = True
            self._clock.advance(3600.0)
        super().send(lease)


def test_a_machine_that_slept_after_a_grant_sends_nothing_late(stage: StageMaker) -> None:
    """The grant is handed back, another one is asked for, and it is no attempt."""
    at = stage()
    worker, notebook = at.worker(at.jobfile(7))
    at.senders[-1].__class__ = SleepySender
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, {r.attempts for r in notebook.results}) == (0, {1})
    assert refusals(at.simulator.log) == []


# -- an organization that is known better by another process ------------------------------------------------


@pytest.mark.parametrize("after", [2.0, 10.0, 303.0], ids=["on the wire", "waiting", "between grants"])
def test_who_an_organization_is_may_be_learnt_in_the_middle_of_a_run(stage: StageMaker, after: float) -> None:
    """Another process reads the orgId: the bucket and the tasks move, and this run goes on as if nothing were."""
    at = stage(latency=(5.0, 0.0))
    jobfile = at.jobfile(12)
    worker, notebook = unnamed(at, at.open(), "12")
    other, (name,) = at.open(), jobfile.organizations
    org = at.simulator.world.organizations[0]
    base_url = jobfile.organizations[name].base_url
    at.tokens[f"{base_url}#id={org.org_id}"] = GOOD

    def learn() -> None:
        other.organizations.join(base_url, name, org.org_id)

    at.timeline.at(at.clock.boot() + after, learn)
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 12, 12)
    assert refusals(at.simulator.log) == []
    assert most_in_any_window(at.simulator.log, org.org_id, 300.0) == 5


def unnamed(at: Stage, store: Store, count: str) -> tuple[Worker, Notebook]:
    """A worker that could not read who its organization is."""
    surveys = at.surveys
    at.surveys = lambda jobfile: {n: replace(f, org_id=None) for n, f in surveys(jobfile).items()}  # type: ignore[method-assign] # one process cannot read it
    try:
        return at.worker(at.jobfile(int(count)), store=store)
    finally:
        at.surveys = surveys  # type: ignore[method-assign] # the others can


def test_two_runs_that_share_tasks_make_each_once(stage: StageMaker) -> None:
    """Each reports all of its tasks: what the other one made is existing."""
    at = stage(tests=20)
    first, one = at.worker(at.jobfile(12), run_id="r1")
    second, two = at.worker(at.jobfile(20, name="other"), run_id="r2")
    endings = drive(at.timeline, [first, second])
    assert [e.exit_code for e in endings] == [0, 0]
    assert [e.counts.created + e.counts.existing for e in endings] == [12, 20]
    assert [len(one.results), len(two.results)] == [12, 20]
    assert len([e for e in at.simulator.log if e.snapshot]) == 20
    assert most_in_any_window(at.simulator.log, at.simulator.world.organizations[0].org_id, 300.0) == 5
