"""Records and log events: what programs read of a run, one JSON object per line.

Records go to standard output and are a documented, versioned format (docs/records.md): `run.started`,
one record for each settled task, `run.finished`. Log events go to standard error and are not versioned.
Both are structlog events that pass through the functions below; the last of them masks secrets.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import structlog

from orchestrator.core import (
    Counts,
    Ending,
    Problem,
    Result,
    Run,
    Status,
    UsageError,
    change_texts,
    mask_secrets,
    utc_text,
    without_links,
)
from orchestrator.output.log import EventDict, Log, _logger, _Masking
from orchestrator.output.streams import Lines

Record = dict[str, object]
"""One record: a JSON object, its keys in the documented order."""

SCHEMA = 1
"""The version of the records. A new key leaves it; a key that goes or changes its meaning raises it."""

COMMON_KEYS = ("event", "time", "schema", "run_id")

STARTED_KEYS = (*COMMON_KEYS, "job", "tasks")

FINISHED_KEYS = (*COMMON_KEYS, "counts", "pending_reasons", "exit_code", "seconds")

SNAPSHOT_KEYS = (
    *COMMON_KEYS,
    "task",
    "organization",
    "account_group",
    "job_name",
    "priority",
    "test_id",
    "test_name",
    "start",
    "end",
    "is_public",
    "saved_event",
    "display_name",
    "snapshot_id",
    "link",
    "expires_at",
    "attempts",
    "waited_s",
    "http_status",
    "error",
    "duplicate_possible",
    "found",
)

ERROR_KEYS = ("title", "detail", "fields")

COUNT_KEYS = ("created", "existing", "failed", "uncertain", "pending")

KEYS: Mapping[str, tuple[str, ...]] = {
    "run.started": STARTED_KEYS,
    "snapshot.created": SNAPSHOT_KEYS,
    "snapshot.existing": SNAPSHOT_KEYS,
    "snapshot.failed": SNAPSHOT_KEYS,
    "snapshot.uncertain": SNAPSHOT_KEYS,
    "run.finished": FINISHED_KEYS,
}
"""Every record by its event, with all keys it may have, in order."""


def start_record(run: Run, tasks: int) -> Record:
    """The first record of a run; its time is when the plan was frozen, also when the run is resumed."""
    return {**_common("run.started", run.created_at, run.id), "job": run.job, "tasks": tasks}


def end_record(ending: Ending, *, now: float) -> Record:
    """The last record of a run: its counts add up to `tasks` of the first."""
    return {
        **_common("run.finished", now, ending.run.id),
        "counts": count_fields(ending.counts),
        "pending_reasons": dict(ending.pending_reasons),
        "exit_code": ending.exit_code,
        "seconds": round(ending.seconds, 1),
    }


def snapshot_record(result: Result, *, run_id: str, show_links: bool) -> Record:
    """The record of one settled task: what is unknown or false is absent.

    ValueError for a task that is not settled: it has no record yet.
    """
    values = {
        **_common(event_name(result), result.settled_wall, run_id),
        **_asked(result),
        **_made(result, show_links=show_links),
        **_went(result, show_links=show_links),
    }
    return {key: values[key] for key in SNAPSHOT_KEYS if key in values and _known(values[key])}


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


def seconds_waited(result: Result) -> float | None:
    """Seconds from when the task could have gone (queued, its window complete) to its last first byte."""
    if result.queued_wall is None or result.sent_wall is None:
        return None
    return round(max(0.0, result.sent_wall - max(result.queued_wall, result.task.ready_at)), 1)


def parse_record(line: str) -> Record:
    """The record that a line holds, without keys that this version does not know.

    Of an event that it does not know the common keys stay. UsageError when the line is no record, or one
    of a higher schema.
    """
    values = _json_object(line)
    schema = values.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or not isinstance(values.get("event"), str):
        raise UsageError(f"not a record of a run (it has no event and schema): {_quoted(line)}")
    if schema > SCHEMA:
        raise UsageError(
            f"a record of schema {schema}, and this version reads up to {SCHEMA}: "
            "read it with the version that wrote it, or a later one"
        )
    known = KEYS.get(str(values["event"]), COMMON_KEYS)
    return {key: value for key, value in values.items() if key in known}


def record_logger(lines: Lines, *, secrets: Collection[str] = ()) -> Log:
    """A logger that writes records as JSON Lines; `secrets` is read anew for each line."""
    json_line = structlog.processors.JSONRenderer()
    return _logger(lines, "debug", [_Masking(secrets), _event_first, json_line])


def write_record(log: Log, record: Record) -> None:
    """Write one record. OSError when the stream is gone."""
    values: dict[str, Any] = dict(record)
    log.info(values.pop("event"), **values)


def _event_first(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put `event` in front: structlog adds it last."""
    return {"event": event["event"], **event}


def _common(event: str, at: float | None, run_id: str) -> Record:
    when = {} if at is None else {"time": utc_text(at, timespec="milliseconds")}
    return {"event": event, **when, "schema": SCHEMA, "run_id": run_id}


def _asked(result: Result) -> Record:
    """What the task asked for."""
    task = result.task
    return {
        "task": task.key,
        "organization": task.organization_name,
        "account_group": task.account_group,
        "job_name": task.job_name,
        "priority": task.priority.word,
        "test_id": task.test_id,
        "test_name": task.test_name,
        "start": utc_text(task.window.start),
        "end": utc_text(task.window.end),
        "is_public": task.is_public,
        "display_name": task.title(result.resends),
    }


def _made(result: Result, *, show_links: bool) -> Record:
    """What came of it."""
    made = result.snapshot
    expires_at = result.expires_at
    return {
        "saved_event": made.saved_event if made else None,
        "snapshot_id": made.id if made else None,
        "link": made.link if made and show_links else None,
        "expires_at": None if expires_at is None else utc_text(expires_at),
    }


def _went(result: Result, *, show_links: bool) -> Record:
    """How it went."""
    failed = result.problem if result.status is not Status.CREATED else None
    error = _error(failed) if failed else None
    return {
        "attempts": result.attempts,
        "waited_s": seconds_waited(result),
        "http_status": result.http_status,
        "error": error if show_links else change_texts(error, without_links),
        "duplicate_possible": result.duplicate_possible,
        "found": result.found,
    }


def _error(problem: Problem) -> Record:
    fields = [{"field": field, "message": message} for field, message in problem.fields]
    error = {"title": problem.title, "detail": problem.detail, "fields": fields}
    return {key: value for key, value in error.items() if value}


def _known(value: object) -> bool:
    return value is not None and value is not False and value not in ("", {})


def _json_object(line: str) -> Record:
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise UsageError(f"not a record of a run (it is no JSON object): {_quoted(line)}")
    return values


def _quoted(line: str) -> str:
    """The start of a line, for an error."""
    line = mask_secrets(line.strip())
    return repr(line if len(line) <= 60 else line[:59] + "…")
