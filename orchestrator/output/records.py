"""Records: the lines that programs read of a run, one JSON object each.

They go to standard output and are a documented, versioned format (docs/records.md): `run.started`, one
record for each settled task, `run.finished`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.core import (
    Counts,
    Ending,
    RefusedOrganization,
    Result,
    Run,
    Status,
    Waiting,
    change_texts,
    utc_text,
    without_links,
)

Record = dict[str, object]
"""One record: a JSON object, its keys in the documented order."""

SCHEMA = 1
"""The version of the records. A new key leaves it; a key that goes or changes its meaning raises it."""


def seconds_waited(result: Result) -> float | None:
    """Seconds from when the task could have gone (queued, its window complete) to its last first byte."""
    if result.queued_wall is None or result.sent_wall is None:
        return None
    return round(max(0.0, result.sent_wall - max(result.queued_wall, result.task.ready_at)), 1)


def _error_fields(result: Result) -> Record | None:
    """The problem that a task ended with; a created one has none."""
    problem = result.problem
    if problem is None or result.status is Status.CREATED:
        return None
    fields = [{"field": field, "message": message} for field, message in problem.fields]
    error = {"title": problem.title, "detail": problem.detail, "fields": fields}
    return {key: value for key, value in error.items() if value}


def _possible_fields(result: Result) -> Record | None:
    """The saved event that an uncertain task may have made."""
    event = result.possible_event
    if event is None or result.status is not Status.UNCERTAIN:
        return None
    return known_fields({"id": event.id, "created_at": utc_or_none(event.created_at)})


def _window_fields(result: Result) -> Record | None:
    """The window that came back, where it is not the one that was asked for."""
    came = result.window_returned
    return None if came is None else {"start": utc_text(came.start), "end": utc_text(came.end)}


_SNAPSHOT_FIELDS: Mapping[str, Callable[[Result], object]] = {
    "task": lambda result: result.task.key,
    "organization": lambda result: result.task.organization_name,
    "account_group": lambda result: result.task.account_group,
    "job_name": lambda result: result.task.job_name,
    "priority": lambda result: result.task.priority.word,
    "test_id": lambda result: result.task.test_id,
    "test_name": lambda result: result.task.test_name,
    "start": lambda result: utc_text(result.task.window.start),
    "end": lambda result: utc_text(result.task.window.end),
    "is_public": lambda result: result.task.is_public,
    "saved_event": lambda result: result.snapshot and result.snapshot.saved_event,
    "display_name": lambda result: result.task.title(result.resends),
    "snapshot_id": lambda result: result.snapshot and result.snapshot.id,
    "link": lambda result: result.snapshot and result.snapshot.link,
    "expires_at": lambda result: utc_or_none(result.expires_at),
    "may_expire_at": lambda result: utc_or_none(result.may_expire_at),
    "attempts": lambda result: result.attempts,
    "waited_s": seconds_waited,
    "http_status": lambda result: result.http_status,
    "error": _error_fields,
    "duplicate_possible": lambda result: result.duplicate_possible,
    "found": lambda result: result.found,
    "possible_event": _possible_fields,
    "source_test_id": lambda result: result.test_returned,
    "window_returned": _window_fields,
    "unverified": lambda result: result.task.unverified and result.status is Status.CREATED,
}
"""Every field of a settled task's record, in the documented order, with where it comes from."""

SNAPSHOT_KEYS = ("event", "time", "schema", "run_id", *_SNAPSHOT_FIELDS)

_NUMBERS = (int, float)  # which are known also where they are zero

COUNT_KEYS = ("created", "existing", "failed", "uncertain", "pending")


def start_record(run: Run, tasks: int) -> Record:
    """The first record of a run; its time is when the plan was frozen, also when the run is resumed."""
    return {**_common_fields("run.started", run.created_at, run.id), "job": run.job, "tasks": tasks}


def refusal_record(run: Run, one: RefusedOrganization, *, now: float) -> Record:
    """The record of an organization to which this process sends nothing, or for which not all is planned."""
    about = {"organization": one.name, "reason": one.reason.value, "text": one.text}
    return {**_common_fields("organization.refused", now, run.id), **about, "exit_code": one.exit_code}


def end_record(ending: Ending, *, now: float) -> Record:
    """The last record of a run: its counts add up to `tasks` of the first."""
    return {
        **_common_fields("run.finished", now, ending.run.id),
        "counts": count_fields(ending.counts),
        "pending_reasons": dict(ending.pending_reasons),
        **(
            {"refused": {one.name: one.reason.value for one in ending.run.refused}}
            if ending.run.refused
            else {}
        ),
        "exit_code": ending.exit_code,
        "seconds": round(ending.seconds, 1),
    }


def archived_record(run: Run, counts: Counts) -> Record:
    """The last record of a run in an archive: how it ended is not known any more, but for its counts."""
    return {**_common_fields("run.finished", run.created_at, run.id), "counts": count_fields(counts)}


def snapshot_record(result: Result, *, run_id: str, show_links: bool) -> Record:
    """The record of one settled task: a field that is unknown or false is absent.

    ValueError for a task that is not settled: it has no record yet.
    """
    record = _common_fields(event_name(result), result.settled_wall, run_id)
    for key, read in _SNAPSHOT_FIELDS.items():
        value = read(result)
        if value or type(value) in _NUMBERS:
            record[key] = value
    if not show_links:
        record.pop("link", None)
        if "error" in record:
            record["error"] = change_texts(record["error"], without_links)
    return record


def event_name(result: Result) -> str:
    """Which of the four events of a snapshot a settled result is."""
    if not result.status.settled:
        raise ValueError(f"task {result.task.key} is {result.status}: only settled tasks have a record")
    if result.status is Status.CREATED and not result.made_here:
        return "snapshot.existing"
    return f"snapshot.{result.status}"


def count_fields(counts: Counts) -> dict[str, int]:
    """The five counts that add up to all tasks."""
    return {key: getattr(counts, key) for key in COUNT_KEYS}


def known_fields(fields: Mapping[str, object]) -> Record:
    """The fields without those that are None: not known."""
    return {key: value for key, value in fields.items() if value is not None}


def utc_or_none(at: float | None) -> str | None:
    """The instant as a record has it, None where it is not known."""
    return None if at is None else utc_text(at)


def wait_fields(why: Waiting) -> Record:
    """The wait of an organization, times as records have them; None where none can be given."""
    return {
        "organization": why.organization,
        "reason": str(why.reason),
        "left": why.left,
        "until": utc_or_none(why.until),
        "done": utc_or_none(why.done),
    }


def _common_fields(event: str, at: float | None, run_id: str) -> Record:
    when = {} if at is None else {"time": utc_text(at, timespec="milliseconds")}
    return {"event": event, **when, "schema": SCHEMA, "run_id": run_id}
