"""The body of POST /tests/{testId}/snapshot, checked as the documents say: the schema is open to other fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestrator.simulator.messages import Refusal, Request, invalid, problem

_HOURS = (1, 2, 4, 6, 12, 24, 48)  # "one of the following intervals"
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """A valid request for a snapshot; times in epoch seconds."""

    display_name: str
    start: float
    end: float
    is_public: bool


def read_snapshot_request(request: Request, now: float) -> SnapshotRequest:
    """The request's body; a Refusal with every wrong field, or 415 for another content type."""
    media_type = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(problem(415, f"Content-Type {media_type!r} is not supported", request.path))
    content = _read_object(request)
    start, end = date_seconds(content.get("startDate")), date_seconds(content.get("endDate"))
    errors = list(_find_errors(content, start, end, now))
    if errors or start is None or end is None:
        raise Refusal(invalid(errors, request.path))
    public = content.get("isPublic") is True
    return SnapshotRequest(display_name=str(content["displayName"]), start=start, end=end, is_public=public)


def date_seconds(value: object) -> float | None:
    """Epoch seconds of an ISO 8601 date-time with its offset; None for anything else.

    ThousandEyes' own client writes `+0000`, which RFC 3339 does not have, and the offset of the time it is given.
    """
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None


def _read_object(request: Request) -> Mapping[str, object]:
    try:
        content = json.loads(request.body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Refusal(invalid([_error("", "The body must be a JSON object")], request.path))
    return content


def _find_errors(
    content: Mapping[str, object], start: float | None, end: float | None, now: float
) -> Iterator[dict[str, str]]:
    name = content.get("displayName")
    if not isinstance(name, str) or not name.strip():
        yield _error("displayName", "displayName must be a string that is not blank")
    if not isinstance(content.get("isPublic", False), bool):
        yield _error("isPublic", "isPublic must be true or false")
    for key, moment in (("startDate", start), ("endDate", end)):
        if moment is None:
            yield _error(key, f"{key} must be an ISO date-time in UTC, such as 2023-06-06T00:00:00Z")
    if start is None or end is None:
        return
    if end - start not in {hours * 3600.0 for hours in _HOURS}:
        lengths = ", ".join(map(str, _HOURS))
        yield _error("endDate", f"The time range must be one of {lengths} hours")
    if end > now:
        yield _error("endDate", "endDate must be the present or a past date")


def _error(field: str, message: str) -> dict[str, str]:
    return {"code": "SNAPSHOT-400", "field": field, "message": message}
