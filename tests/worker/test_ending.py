"""The ending of a run as one worker left it."""

from __future__ import annotations

from typing import cast

import pytest

from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Counts, Reason, Run, RunState
from orchestrator.store.store import Store
from orchestrator.store.views import RunView
from orchestrator.worker.ending import make_ending, pending_reasons
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations

ASKED_NOTHING = cast("Store", None)
DONE = Counts(created=2)
HALF = Counts(created=1, queued=1)


def view(state: RunState = RunState.ACTIVE, **counts: Counts) -> RunView:
    return RunView(run=Run(id="r1", job="night", created_at=0.0, tasks=4, state=state), counts=counts)


def serve(*names: str, stopped: Reason | None = None) -> ServedOrganizations:
    """Organizations in one process, of which the first one is stopped for the reason."""
    served = {n: ServedOrganization(identity=n, name=n, limit=Limit(), timeout=60.0) for n in names}
    if stopped is not None:
        served[names[0]].stop(stopped, "because")
    return ServedOrganizations(served, ASKED_NOTHING)


@pytest.mark.parametrize(
    ("left", "stopped", "early", "code"),
    [
        (view(acme=DONE), None, False, 0),
        (view(acme=Counts(created=1, failed=1)), None, False, 3),
        (view(acme=Counts(created=1, uncertain=1)), None, False, 3),
        (view(acme=HALF), Reason.TOKEN_REFUSED, False, 4),
        (view(acme=DONE), Reason.TOKEN_REFUSED, False, 4),
        (view(acme=HALF), Reason.API_UNREACHABLE, False, 5),
        (view(acme=HALF), Reason.TOKEN_REFUSED, True, 5),
        (view(RunState.FINISHED, acme=HALF), None, False, 3),
        (view(RunState.CANCELLED, acme=HALF), Reason.TOKEN_REFUSED, True, 3),
    ],
)
def test_the_exit_code_is_the_first_that_is_true(
    left: RunView, stopped: Reason | None, code: int, *, early: bool
) -> None:
    """Of cancelled, stopped early, refused, not all made, done."""
    ending = make_ending(left, serve("acme", stopped=stopped), {}, early=early, seconds=1.0)
    assert ending.exit_code == code


def test_pending_tasks_are_counted_by_their_reason() -> None:
    """Organizations that have none are left out."""
    left = view(acme=HALF, globex=HALF, initech=DONE)
    organizations = serve("acme", "globex", "initech", stopped=Reason.TOKEN_REFUSED)
    reasons = pending_reasons(left, organizations, stopping=False)
    assert reasons == {"acme": "token_refused", "globex": "own_quota"}
    ending = make_ending(left, organizations, reasons, early=False, seconds=1.0)
    assert ending.pending_reasons == {"token_refused": 1, "own_quota": 1}


@pytest.mark.parametrize(
    ("state", "reason"), [(RunState.CANCELLED, "cancelled"), (RunState.FINISHED, Reason.OTHER_RUN.value)]
)
def test_a_run_that_is_over_gives_one_reason_for_all(state: RunState, reason: str) -> None:
    """Even where an organization was stopped here."""
    organizations = serve("acme", "globex", stopped=Reason.TOKEN_REFUSED)
    reasons = pending_reasons(view(state, acme=HALF, globex=HALF), organizations, stopping=False)
    assert reasons == {"acme": reason, "globex": reason}
