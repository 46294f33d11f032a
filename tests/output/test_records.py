"""Records: their keys, their round trip, and what must never be in them."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import clock
from orchestrator.core.events import Ending
from orchestrator.core.hidden import MASK
from orchestrator.core.jobs import Priority, Window
from orchestrator.core.redact import hide
from orchestrator.core.tasks import (
    SNAPSHOT_LIFETIME,
    Counts,
    Problem,
    Reason,
    Result,
    Run,
    Snapshot,
    Status,
    Task,
)
from orchestrator.output import log, records
from orchestrator.output.streams import Lines

DOCS = Path(__file__).parents[2] / "docs" / "records.md"
START = 1_795_183_200  # 2026-11-20T14:00:00Z
COMMON_KEYS = ("event", "time", "schema", "run_id")
STARTED_KEYS = (*COMMON_KEYS, "job", "tasks")
FINISHED_KEYS = (*COMMON_KEYS, "counts", "pending_reasons", "refused", "exit_code", "seconds")

REFUSED_KEYS = ("event", "time", "schema", "run_id", "organization", "reason", "text", "exit_code")
SECRET = "0a1b2c3d-secret-4e5f"

TASK = Task(
    organization="https://api.example.com/v7#id=1",
    organization_name="acme",
    account_group="1234",
    test_id="202701",
    window=Window(start=START, end=START + 7200),
    is_public=False,
    test_name="Checkout EU",
    display_name="Checkout EU [9b1f0c]",
    job_name="checkout",
    priority=Priority.INCIDENT,
)
CREATED = Result(
    task=TASK,
    status=Status.CREATED,
    snapshot=Snapshot(id="wdiac", link="https://app.example.com/s/wdiac", saved_event=True),
    http_status=201,
    attempts=1,
    queued_wall=START + 100.0,
    sent_wall=START + 101.26,
    settled_wall=START + 102.5,
)


def record(result: Result, *, show_links: bool = True) -> records.Record:
    return records.snapshot_record(result, run_id="k7f2", show_links=show_links)


def ending(**counts: int) -> Ending:
    run = Run(id="k7f2", job="nightly-edge", created_at=START)
    return Ending(
        run=run,
        counts=Counts(**counts),
        pending_reasons={"token_refused": 3},
        exit_code=4,
        seconds=12.34,
    )


TEXTS = st.text(max_size=12)
WALLS = st.none() | st.floats(min_value=1e9, max_value=2e9)
TASKS = st.builds(
    Task,
    organization=TEXTS,
    account_group=TEXTS,
    test_id=st.text(string.digits, min_size=1, max_size=8),
    window=st.builds(Window, start=st.just(START), end=st.just(START + 3600)),
    is_public=st.booleans(),
    test_name=st.none() | TEXTS,
    display_name=TEXTS,
    job_name=TEXTS,
    priority=st.sampled_from(Priority),
    ready_at=st.floats(min_value=0, max_value=2e9),
)
RESULTS = st.builds(
    Result,
    task=TASKS,
    status=st.sampled_from([Status.CREATED, Status.FAILED, Status.UNCERTAIN]),
    made_here=st.booleans(),
    snapshot=st.none()
    | st.builds(Snapshot, id=TEXTS, link=st.none() | TEXTS, saved_event=st.none() | st.booleans()),
    problem=st.none()
    | st.builds(Problem, title=TEXTS, detail=TEXTS, fields=st.just(()) | st.just((("a", "b"), ("a", "c")))),
    http_status=st.none() | st.integers(200, 599),
    attempts=st.integers(0, 9),
    duplicate_possible=st.booleans(),
    found=st.none() | st.just("saved_event"),
    queued_wall=WALLS,
    sent_wall=WALLS,
    settled_wall=WALLS,
)


@given(RESULTS, st.booleans())
def test_a_record_comes_back_from_its_line_as_it_was(result: Result, show_links: bool) -> None:
    """What is written is read again, on one line, with its keys in the documented order."""
    written = record(result, show_links=show_links)
    stream = io.StringIO()
    log.write_record(Lines(stream), written)
    line = stream.getvalue()
    assert line.splitlines() == [line.removesuffix("\n")]
    assert line.isascii()
    read = json.loads(line)
    assert read == written
    assert list(read) == [key for key in records.SNAPSHOT_KEYS if key in written]
    assert not [value for value in read.values() if value is None or value is False or value == ""]


def test_a_created_snapshot_has_exactly_these_values() -> None:
    """The keys and units of a record are those of the documentation."""
    assert record(CREATED) == {
        "event": "snapshot.created",
        "time": "2026-11-20T14:01:42.500Z",
        "schema": 1,
        "run_id": "k7f2",
        "task": TASK.key,
        "organization": "acme",
        "account_group": "1234",
        "job_name": "checkout",
        "priority": "incident",
        "test_id": "202701",
        "test_name": "Checkout EU",
        "start": "2026-11-20T14:00:00Z",
        "end": "2026-11-20T16:00:00Z",
        "saved_event": True,
        "display_name": "Checkout EU [9b1f0c]",
        "snapshot_id": "wdiac",
        "link": "https://app.example.com/s/wdiac",
        "may_expire_at": clock.utc_text(START + 102.5 + SNAPSHOT_LIFETIME),
        "attempts": 1,
        "waited_s": 1.3,
        "http_status": 201,
    }


def test_an_error_has_its_fields_by_name() -> None:
    """A 400 names each field with its message; what the API did not say is absent."""
    problem = Problem(title="Bad Request", fields=(("startDate", "too old"),))
    failed = dataclasses.replace(CREATED, status=Status.FAILED, snapshot=None, problem=problem)
    assert record(failed)["error"] == {
        "title": "Bad Request",
        "fields": [{"field": "startDate", "message": "too old"}],
    }


@pytest.mark.parametrize(
    ("status", "made_here", "event"),
    [
        (Status.CREATED, True, "snapshot.created"),
        (Status.CREATED, False, "snapshot.existing"),
        (Status.FAILED, True, "snapshot.failed"),
        (Status.UNCERTAIN, True, "snapshot.uncertain"),
    ],
)
def test_each_settled_task_has_one_of_four_events(status: Status, made_here: bool, event: str) -> None:
    """A snapshot of another run is existing, not created."""
    assert record(dataclasses.replace(CREATED, status=status, made_here=made_here))["event"] == event


def test_a_task_that_is_not_settled_has_no_record() -> None:
    """A record is printed once and for good, so never too early."""
    with pytest.raises(ValueError, match="only settled tasks"):
        record(dataclasses.replace(CREATED, status=Status.SENDING))


@pytest.mark.parametrize(
    ("queued", "ready", "sent", "waited"),
    [
        (100.0, 0.0, 160.04, 60.0),
        (100.0, 150.0, 160.0, 10.0),
        (100.0, 0.0, 90.0, 0.0),
        (None, 0.0, 90.0, None),
    ],
)
def test_waiting_is_counted_from_when_the_task_could_have_gone(
    queued: float | None, ready: float, sent: float, waited: float | None
) -> None:
    """Queued, or its window complete, whichever is later; never below zero."""
    task = dataclasses.replace(TASK, ready_at=ready)
    assert (
        records.seconds_waited(dataclasses.replace(CREATED, task=task, queued_wall=queued, sent_wall=sent))
        == waited
    )


def test_the_counts_of_a_finished_run_add_up() -> None:
    """What is leased or being sent when the process ends is pending."""
    record = records.end_record(ending(created=42, failed=2, queued=1, leased=1, sending=1), now=START + 60.0)
    assert tuple(record) == tuple(key for key in FINISHED_KEYS if key != "refused")
    assert record["counts"] == {"created": 42, "existing": 0, "failed": 2, "uncertain": 0, "pending": 3}
    assert (record["time"], record["seconds"]) == ("2026-11-20T14:01:00.000Z", 12.3)


def test_a_started_run_has_its_keys() -> None:
    """The first record says how many are to follow."""
    record = records.start_record(Run(id="k7f2", job="nightly-edge", created_at=START), 60)
    assert tuple(record) == STARTED_KEYS
    assert record["tasks"] == 60


def test_without_links_no_link_is_in_a_record() -> None:
    """`--links id` keeps the link out, also one that an error quotes."""
    assert "link" not in record(CREATED, show_links=False)
    problem = Problem(title="Conflict", detail="see https://app.example.com/s/wdiac?x=1 now")
    failed = dataclasses.replace(CREATED, status=Status.FAILED, problem=problem)
    assert "wdiac?" not in json.dumps(record(failed, show_links=False))
    assert "see https://app.example.com/" in json.dumps(record(failed, show_links=False))


def test_a_secret_in_a_record_is_masked() -> None:
    """An API that echoes the token in an error does not spread it."""
    stream = io.StringIO()
    problem = Problem(title="Unauthorized", detail=f"token {SECRET} is bad")
    failed = dataclasses.replace(CREATED, status=Status.FAILED, problem=problem)
    hide(SECRET)
    log.write_record(Lines(stream), record(failed))
    assert json.loads(stream.getvalue())["error"] == {
        "title": "Unauthorized",
        "detail": f"token {MASK} is bad",
    }


def test_the_documentation_names_every_key_and_no_other() -> None:
    """docs/records.md is complete and invents nothing, section by section."""
    sections = re.split(r"^#+ ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    by_title = {text.splitlines()[0].split(",")[0]: text for text in sections if text}
    documented = {
        title: re.findall(r"^\| `(\S+)` \|", text, re.MULTILINE) for title, text in by_title.items()
    }
    assert documented["run.started"] == list(STARTED_KEYS)
    assert documented["snapshot.created"] == [*records.SNAPSHOT_KEYS, "title", "detail", "fields"]
    assert documented["organization.refused"] == list(REFUSED_KEYS)
    assert documented["run.finished"] == [*FINISHED_KEYS, *records.COUNT_KEYS]
    assert documented["Log events"][: len(log.LOG_KEYS)] == list(log.LOG_KEYS)
    assert all(f"`{reason}`" in by_title["run.finished"] for reason in Reason)
    assert all(f"`{name}`" in by_title["Log events"] for name in log.OWN_EVENTS)


def test_the_documentation_shows_true_records() -> None:
    """Every example has its keys in order."""
    examples = re.findall(r'^\{.*"schema".*\}$', DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(examples) == 5
    for line in examples:
        read = json.loads(line)
        keys = {
            "run.started": STARTED_KEYS,
            "organization.refused": REFUSED_KEYS,
            "run.finished": FINISHED_KEYS,
        }.get(read["event"], records.SNAPSHOT_KEYS)
        assert list(read) == [key for key in keys if key in read]
