"""Sentences about an organization that go on after a reason of the API's."""

from __future__ import annotations

from orchestrator.core.jobs import Limit
from orchestrator.worker import notices
from orchestrator.worker.organization import ServedOrganization


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
