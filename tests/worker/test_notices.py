"""Sentences about what happens while a run goes on: reasons of the API's, and waits."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Lease
from orchestrator.worker import notices
from orchestrator.worker.organization import ServedOrganization
from tests.support.reports import task


def test_a_reason_with_a_full_stop_ends_no_sentence() -> None:
    """The reason may be a sentence of its own; what is said of the organization goes on after it."""
    because = "the token was refused (401): it is wrong."
    served = ServedOrganization(
        identity="1", name="acme", limit=Limit(), timeout=60.0, stopped_because=because
    )
    served.await_token(because)
    assert [
        event.text for event in (notices.organization_stop(served), notices.awaited_token(served, 120.0))
    ] == [
        "acme: the token was refused (401): it is wrong; its other snapshots stay pending",
        "acme: the token was refused (401): it is wrong; its token file is read again for 120 s",
    ]


@given(st.floats(min_value=0.001, max_value=600.0))
def test_a_wait_is_told_in_begun_seconds(wait: float) -> None:
    """A short one too: nobody is told that the next try is in 0 s, or sooner than it is."""
    lease = Lease(task=task(1), run_id="r1", owner="o", attempt=1, token=0, granted_at=0.0, granted_boot=0.0)
    served = ServedOrganization(identity="1", name="acme", limit=Limit(), timeout=60.0)
    for event in (
        notices.unsent_attempt(served, lease, "no connection", wait),
        notices.failed_look(lease, 1, "no connection", wait),
    ):
        told = re.search(r" in (\d+) s$", event.text)
        assert told is not None
        assert wait <= int(told[1]) < wait + 1
