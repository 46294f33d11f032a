"""What `status` says, from the store alone, of a run that another process works on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

from orchestrator.core.tasks import Reason
from orchestrator.output import status_text
from orchestrator.simulator import script_faults
from tests.scenarios.test_reachability import cut_off
from tests.scenarios.test_refused_groups import CLOSED, OPEN, guarded, job_in
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]


def seen(at: Stage) -> dict[str, Reason]:
    """Why each organization waits, as another process reads it."""
    store = at.open()
    return {why.organization: why.reason for why in status_text.load_status(store, "r1").waiting}


def test_a_refused_token_is_said_while_the_others_go_on(either_stage: StageMaker) -> None:
    """The bucket has slots for it: they are not what it waits for."""
    at = either_stage(organizations=2, tests=12)
    worker, _ = at.worker(at.jobfile(12))
    served = {one.name: one for one in worker._organizations}
    at.tokens[served["org-2"].identity] = "of-yesterday"
    looks: list[dict[str, Reason]] = []
    at.timeline.at(at.clock.boot() + 30, lambda: looks.append(seen(at)))
    (ending,) = drive(at.timeline, [worker])
    assert ending.exit_code == 4
    assert looks == [{"org-1": Reason.OWN_QUOTA, "org-2": Reason.TOKEN_REFUSED}]
    assert set(seen(at).values()) == {Reason.NOBODY_RUNNING}


def test_an_api_out_of_reach_is_said_until_it_answers(stage: StageMaker) -> None:
    """And no longer."""
    at = stage(tests=12)
    worker, _ = at.worker(at.jobfile(12))
    cut_off(at, worker, 1)
    looks: list[dict[str, Reason]] = []
    begun = at.clock.boot()
    at.timeline.at(begun + 600, lambda: looks.append(seen(at)))
    at.timeline.at(begun + 601, lambda: cut_off(at, worker))
    at.timeline.at(begun + 1000, lambda: looks.append(seen(at)))
    (ending,) = drive(at.timeline, [worker])
    assert ending.exit_code == 0
    assert looks == [{"org-1": Reason.API_UNREACHABLE}, {"org-1": Reason.OWN_QUOTA}]


def test_one_process_that_is_able_is_enough(stage: StageMaker) -> None:
    """What hinders one of two does not hinder the run."""
    at = stage(tests=12)
    worker, _ = at.worker(at.jobfile(12))
    other, _ = at.worker(at.jobfile(12))
    cut_off(at, other, 1)
    looks: list[dict[str, Reason]] = []
    at.timeline.at(at.clock.boot() + 30, lambda: looks.append(seen(at)))
    drive(at.timeline, [worker, other])
    assert looks == [{"org-1": Reason.OWN_QUOTA}]


def test_two_names_of_one_organization_are_able_if_one_of_them_is(stage: StageMaker) -> None:
    """Also when the run learns on its way that they are one: the token of the first is refused afterwards."""
    at = stage(organizations=2, tests=8, switches={"shows_org_id": False})
    jobfile = at.jobfile(8)
    worker, _ = at.worker(jobfile)
    begun, looks = at.clock.boot(), list[dict[str, Reason]]()

    def learn() -> None:
        for name, organization in jobfile.organizations.items():
            at.tokens[at.open().organizations.join(organization.base_url, name, "1001")] = "token-1"

    at.timeline.at(begun + 100, learn)
    refused = next(iter(worker._organizations))
    at.timeline.at(begun + 150, lambda: worker._in_flight._stop_serving(refused, Reason.TOKEN_REFUSED, "401"))
    at.timeline.at(begun + 200, lambda: looks.append(seen(at)))
    drive(at.timeline, [worker])
    assert looks == [{"org-1": Reason.OWN_QUOTA}]


def test_what_is_refused_everywhere_is_said(stage: StageMaker) -> None:
    """Of the refused account group snapshots are left, of the other one none."""
    at = stage(organizations=1, tests=8, switches={"account_groups": 2})
    guarded(at, (CLOSED, False))
    worker, _ = at.worker(at.jobfile(0, jobs=[job_in(at, CLOSED, 8), job_in(at, OPEN, 2)]))
    looks, show = list[dict[str, Reason]](), worker._progress.show

    def look(now: float, *, always: bool) -> None:
        looks.append(seen(at))
        show(now, always=always)

    worker._progress.show = look  # type: ignore[method-assign] # at each step
    drive(at.timeline, [worker])
    assert looks[-1] == {"org-1": Reason.PERMISSION_REFUSED}


def test_a_search_for_a_lost_answer_is_said_with_its_end(either_stage: StageMaker) -> None:
    """Nothing else is left: it begins a minute and a half after the grant and lasts two minutes at the most."""
    at = either_stage(tests=3, faults=script_faults([None, "reset-after"]))
    worker, _ = at.worker(at.jobfile(2, is_public=True))
    looks: list[str] = []

    def look() -> None:
        status = status_text.load_status(at.open(), "r1")
        looks.append("; ".join(status_text.status_lines(status, UTC)))
        (why,) = status.waiting
        assert (why.reason, why.left) == (Reason.EVIDENCE, 1)
        assert why.until is not None
        assert why.done is not None
        assert 25.0 <= why.done - why.until <= 35.0

    at.timeline.at(at.clock.boot() + 30, look)
    drive(at.timeline, [worker])
    assert "looking for evidence of snapshots whose answer was lost; next" in looks[0]
    assert not status_text.load_status(at.open(), "r1").waiting
