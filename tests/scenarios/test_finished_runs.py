"""A run that has finished and is started again, and one that is paced otherwise than its neighbour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from orchestrator.api.credentials import Bearer
from orchestrator.app import history
from orchestrator.app.organizations import Organizations
from orchestrator.core.events import Event
from orchestrator.core.jobs import JobFile, Limit
from orchestrator.core.tasks import Status
from orchestrator.output.sentences import last_line
from orchestrator.simulator import script_faults
from orchestrator.worker.worker import Worker
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]
FAILS = "400-before"


def posts(at: Stage) -> int:
    """How many requests for snapshots arrived."""
    return sum(entry.method == "POST" for entry in at.simulator.log)


# -- finished ----------------------------------------------------------------------------------------------


def failed_once(stage: StageMaker, fault: str = FAILS) -> tuple[Stage, JobFile]:
    """A finished run of three, of which the second went wrong."""
    at = stage(tests=3, faults=script_faults([None, fault]))
    jobfile = at.jobfile(3)
    ending, _ = at.run(jobfile, run_id="r1")
    assert (ending.exit_code, ending.counts.created) == (3, 2)
    assert at.open().views.find_run("r1").state == "finished"
    return at, jobfile


def test_a_finished_run_started_again_sends_nothing(stage: StageMaker) -> None:
    """It prints its records again; what failed stays failed."""
    at, jobfile = failed_once(stage)
    before = posts(at)
    ending, notebook = at.run(jobfile, run_id="r1")
    assert (ending.exit_code, ending.counts.created, ending.counts.failed) == (3, 2, 1)
    assert len(notebook.results) == 3
    assert posts(at) == before


def queued_by_another(at: Stage, jobfile: JobFile) -> None:
    """Another run of the same file queues the failed one anew, and dies before it is sent."""
    store = at.open()
    worker, _ = at.worker(jobfile, run_id="r2", store=store)
    worker.open()
    assert store.views.run("r2").total.queued == 1
    store.close()


def test_a_finished_run_does_not_send_what_another_run_queued_again(stage: StageMaker) -> None:
    """The task is that run's now; the finished one says so and ends."""
    at, jobfile = failed_once(stage)
    queued_by_another(at, jobfile)
    before = posts(at)
    ending, notebook = at.run(jobfile, run_id="r1")
    assert posts(at) == before
    assert (ending.counts.created, ending.counts.pending, len(notebook.results)) == (2, 1, 2)
    assert ending.seconds < 60
    assert (ending.exit_code, ending.pending_reasons) == (3, {"other_run": 1})
    assert last_line(ending) == "2 created, 1 pending (other run): tesnap runs"
    ending, _ = at.run(jobfile, run_id="r2")
    assert (ending.exit_code, ending.counts.created, ending.counts.existing) == (0, 1, 2)


def test_a_finished_run_whose_failed_ones_are_to_be_tried_again_is_active(stage: StageMaker) -> None:
    """What `tesnap resume --failed` asks for is made, and the run has finished once more."""
    at, jobfile = failed_once(stage)
    store = at.open()
    assert store.runs.retry_failed("r1") == 1
    assert store.views.find_run("r1").state == "active"
    ending, notebook = at.run(jobfile, run_id="r1")
    assert (ending.exit_code, ending.counts.created, len(notebook.results)) == (0, 3, 3)
    assert store.views.find_run("r1").state == "finished"


def test_a_finished_run_of_which_a_task_was_settled_as_not_created_is_active(stage: StageMaker) -> None:
    """What `tesnap settle RUN TASK not-created` says is made when the run is resumed."""
    at, jobfile = failed_once(stage, "reset-before")
    store = at.open()
    (uncertain,) = [r for r in store.views.results("r1") if r.status is Status.UNCERTAIN]
    store.uncertain.settle_by_hand("r1", uncertain.task.key, made=None)
    assert store.views.find_run("r1").state == "active"
    ending, _ = at.run(jobfile, run_id="r1")
    assert (ending.exit_code, ending.counts.created) == (0, 3)
    assert posts(at) == 4


# -- paced otherwise ---------------------------------------------------------------------------------------


@pytest.fixture
def opened() -> Iterator[list[Organizations]]:
    """Closed in the end."""
    made: list[Organizations] = []
    yield made
    for organizations in made:
        organizations.close()


def differing(at: Stage, opened: list[Organizations], limits: Mapping[str, Limit]) -> list[Event]:
    """What another start with these limits is told about runs at work."""
    plain = at.jobfile(3, name="other")
    organizations = {
        name: replace(organization, limit=limits.get(name, organization.limit))
        for name, organization in plain.organizations.items()
    }
    jobfile = replace(plain, organizations=organizations)
    served = Organizations(
        jobfile, store=at.open(), clock=at.clock, environ={}, read=lambda _: Bearer("token-1")
    )
    opened.append(served)
    return list(history.limit_conflicts(served.store, served.serve(at.surveys(jobfile))))


def at_work(at: Stage) -> Worker:
    """A run that has made a request in every organization, and goes on."""
    worker, _ = at.worker(at.jobfile(12))
    worker.open()
    worker.step()
    return worker


def test_a_run_at_work_that_is_paced_otherwise_is_told_once(
    stage: StageMaker, opened: list[Organizations]
) -> None:
    """One warning names the organizations for which the settings differ, and no other."""
    at = stage(organizations=3)
    at_work(at)
    (told,) = differing(at, opened, {"org-1": Limit(use=3), "org-3": Limit(guard=2.0)})
    assert (told.name, told.level) == ("limit.differs", "warning")
    assert told.text.startswith("org-1, org-3: another run in progress has different limit settings")


def test_a_run_at_work_that_is_paced_alike_is_not_worth_a_word(
    stage: StageMaker, opened: list[Organizations]
) -> None:
    """The settings are the same."""
    at = stage(organizations=2)
    at_work(at)
    assert differing(at, opened, {}) == []


def test_a_run_that_is_over_is_not_worth_a_word(stage: StageMaker, opened: list[Organizations]) -> None:
    """Nobody works on it: its settings are history."""
    at = stage()
    drive(at.timeline, [at_work(at)])
    assert differing(at, opened, {"org-1": Limit(use=3)}) == []


def test_a_run_whose_process_died_is_not_worth_a_word(stage: StageMaker, opened: list[Organizations]) -> None:
    """It is unfinished, and nobody works on it."""
    at = stage()
    at_work(at)
    at.stores[0].close()
    assert differing(at, opened, {"org-1": Limit(use=3)}) == []


def test_another_organization_of_a_run_at_work_is_not_worth_a_word(
    stage: StageMaker, opened: list[Organizations]
) -> None:
    """The run at work serves one organization; the other's settings were those of a run that is over."""
    at = stage(organizations=2)
    both = at.jobfile(3)
    at.run(both, run_id="over")
    only = replace(at.jobfile(12, name="only"), jobs=at.jobfile(12).jobs[:1])
    worker, _ = at.worker(only, run_id="only")
    worker.open()
    worker.step()
    assert differing(at, opened, {"org-2": Limit(use=3)}) == []
