"""The body of POST /tests/{testId}/snapshot, checked as the documents say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestrator.simulator.messages import Refusal, Request, invalid, problem

_HOURS = (1, 2, 4, 6, 12, 24, 48)  # "one of the following intervals"
_LENGTHS = tuple(hours * 3600.0 for hours in _HOURS)
_FIELDS = frozenset({"displayName", "startDate", "endDate", "isPublic"})
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRequest:
    """A valid request for a snapshot; times in epoch seconds."""

    display_name: str
    start: float
    end: float
    is_public: bool


def read_draft(request: Request, now: float) -> SnapshotRequest:
    """The request's body; a Refusal with every wrong field, or 415 for another content type."""
    media_type = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(problem(415, f"Content-Type {media_type!r} is not supported", request.path))
    content = _object(request)
    errors = [*_unknown(content), *_name(content), *_public(content)]
    start, end = (_date(content, key, errors) for key in ("startDate", "endDate"))
    if start is not None and end is not None:
        errors += _window(start, end, now)
    if errors or start is None or end is None:
        raise Refusal(invalid(errors, request.path))
    public = content.get("isPublic") is True
    return SnapshotRequest(display_name=str(content["displayName"]), start=start, end=end, is_public=public)


def date_seconds(text: str) -> float | None:
    """Epoch seconds of an ISO 8601 date-time in UTC, or None."""
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC).timestamp() if moment.utcoffset() == timedelta(0) else None


def _object(request: Request) -> Mapping[str, object]:
    try:
        content = json.loads(request.body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Refusal(invalid([_error("", "The body must be a JSON object")], request.path))
    return content


def _unknown(content: Mapping[str, object]) -> list[dict[str, str]]:
    return [_error(key, "Unknown field") for key in sorted(set(content) - _FIELDS)]


def _name(content: Mapping[str, object]) -> list[dict[str, str]]:
    name = content.get("displayName")
    if isinstance(name, str) and name.strip():
        return []
    return [_error("displayName", "displayName must be a string that is not blank")]


def _public(content: Mapping[str, object]) -> list[dict[str, str]]:
    wrong = not isinstance(content.get("isPublic", False), bool)
    return [_error("isPublic", "isPublic must be true or false")] if wrong else []


def _date(content: Mapping[str, object], key: str, errors: list[dict[str, str]]) -> float | None:
    """The date under a key; a wrong one is added to the errors."""
    value = content.get(key)
    seconds = date_seconds(value) if isinstance(value, str) else None
    if seconds is None:
        errors.append(_error(key, f"{key} must be an ISO date-time in UTC, such as 2023-06-06T00:00:00Z"))
    return seconds


def _window(start: float, end: float, now: float) -> list[dict[str, str]]:
    errors = []
    if end - start not in _LENGTHS:
        lengths = ", ".join(map(str, _HOURS))
        errors.append(_error("endDate", f"The time range must be one of {lengths} hours"))
    if end > now:
        errors.append(_error("endDate", "endDate must be the present or a past date"))
    return errors


def _error(field: str, message: str) -> dict[str, str]:
    return {"code": "SNAPSHOT-400", "field": field, "message": message}
