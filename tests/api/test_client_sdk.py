"""The official SDK's own model of the request accepts every body that the client sends."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from thousandeyes_sdk.snapshots.models.snapshot_request import SnapshotRequest

from orchestrator.api.client import snapshot_call
from orchestrator.core.jobs import Window
from orchestrator.core.tasks import Task
from orchestrator.windows.windows import LENGTHS

TASKS = st.builds(
    Task,
    organization=st.just("https://api.thousandeyes.com/v7#id=1"),
    account_group=st.from_regex(r"[0-9]{0,12}", fullmatch=True),
    test_id=st.from_regex(r"[0-9]{1,18}", fullmatch=True),
    window=st.builds(
        lambda start, length: Window(start=start, end=start + length),
        st.integers(946_684_800, 4_000_000_000),
        st.sampled_from(LENGTHS),
    ),
    is_public=st.booleans(),
    display_name=st.text(min_size=1, max_size=200),
    job_name=st.just("job"),
)


@given(TASKS)
def test_the_sdk_reads_what_the_client_sends(task: Task) -> None:
    """Every field arrives as it was meant, and there is none that the SDK does not know."""
    body = snapshot_call(task).body
    assert body is not None
    read = SnapshotRequest.from_json(body.decode())
    assert read is not None
    assert (read.display_name, read.is_public) == (task.display_name, task.is_public)
    assert (read.start_date.timestamp(), read.end_date.timestamp()) == (task.window.start, task.window.end)
    assert set(json.loads(body)) == {"displayName", "startDate", "endDate", "isPublic"}
