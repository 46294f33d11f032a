"""The judge of the chaos sees each promise that is broken, and nothing where all are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core import Problem, Result, Snapshot, Status, Task, Window
from orchestrator.simulator import LoggedRequest
from tests.chaos.verdict import Promise, find_breaches, find_untrue, most_requests

TASK = Task(
    organization="o",
    account_group="1",
    test_id="202701",
    window=Window(start=0, end=3600),
    is_public=False,
    display_name="x",
    job_name="j",
)
MADE = Result(task=TASK, status=Status.CREATED, snapshot=Snapshot(id="wdiac"))


def post(arrived: float, *, counted: bool = True, test: str = "202701") -> LoggedRequest:
    """A request for a snapshot as the server saw it."""
    return LoggedRequest(
        arrived=arrived,
        method="POST",
        path="/v7/tests/1/snapshot",
        organization="1001",
        test=test,
        start=0.0,
        end=3600.0,
        is_public=False,
        counted=counted,
    )


def breaches(log: list[LoggedRequest], result: Result = MADE, tasks: int = 1) -> list[Promise]:
    """The promises that are broken by this record of the server and this store."""
    found = find_breaches(log, {"r": [result]}, {"r": tasks}, limit=5, period=3.0)
    return [breach.promise for breach in found]


def test_all_kept() -> None:
    """One snapshot, made once."""
    assert breaches([post(0.0)]) == []


@pytest.mark.parametrize("counted", [True, False])
def test_a_sixth_request_in_a_window_is_over_the_limit(counted: bool) -> None:
    """Also one that was refused: it used a slot that was not there."""
    others = [post(at / 10, test=str(at), counted=counted) for at in range(1, 6)]
    assert Promise.OVER in breaches([post(0.0), *others])
    assert Promise.OVER not in breaches([post(0.0), *others[:4], post(3.0, test="9")])
    assert most_requests([post(0.0), *others], 3.0) == 6


def test_twice_is_broken_only_unsaid() -> None:
    """A second one that may be there is announced by the task."""
    assert breaches([post(0.0), post(9.0)]) == [Promise.TWICE]
    assert breaches([post(0.0), post(9.0)], replace(MADE, duplicate_possible=True)) == []


@pytest.mark.parametrize("status", [Status.QUEUED, Status.SENDING, Status.FAILED])
def test_what_is_not_settled_is_lost(status: Status) -> None:
    """Nothing here may fail for good."""
    lost = Result(task=TASK, status=status, problem=Problem(title="x"))
    assert breaches([], lost) == [Promise.LOST]


def test_what_was_never_made_and_what_is_not_in_the_store_is_lost() -> None:
    """A snapshot that only the store knows, and a task that it does not."""
    assert breaches([]) == [Promise.LOST]
    assert breaches([post(0.0)], tasks=2) == [Promise.LOST]


def test_a_record_of_another_snapshot_is_untrue(tmp_path: Path) -> None:
    """What a process printed is in the store, for the same test; a line that a kill cut off does not count."""
    output = tmp_path / "out.jsonl"
    said = {"event": "snapshot.created", "snapshot_id": "wdiac", "test_id": "202701"}
    output.write_text(json.dumps(said) + "\n" + json.dumps(said | {"snapshot_id": "gone"})[:20])
    assert list(find_untrue(output, {"wdiac": MADE})) == []
    output.write_text(json.dumps(said | {"snapshot_id": "gone"}) + "\n")
    assert [breach.promise for breach in find_untrue(output, {"wdiac": MADE})] == [Promise.UNTRUE]
