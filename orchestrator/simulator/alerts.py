"""The alerts that GET /alerts means: state, time filters, pages.

From the published text: only active alerts by default; `trigger` filters by when an alert started,
`clear` by when it cleared; with a time range and no state come the alerts cleared within the range and
the active ones that started before its end.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from orchestrator.simulator.messages import Refusal, Request, invalid
from orchestrator.simulator.snapshot_requests import date_seconds
from orchestrator.simulator.world import TenantAlert

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_INTERVAL = re.compile(r"(\d+)([smhdw]?)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A time range, both ends in it."""

    start: float
    end: float

    def __contains__(self, moment: float) -> bool:
        return self.start <= moment <= self.end


def select_alerts(alerts: tuple[TenantAlert, ...], request: Request, now: float) -> list[TenantAlert]:
    """The alerts that a request means, newest first."""
    state = request.query.get("state")
    if state not in {None, "trigger", "clear"}:
        raise _refusal(request, "state", "state must be trigger or clear")
    span = _range(request, now)
    begun = [alert for alert in alerts if alert.start <= now]
    meant = [alert for alert in begun if _is_meant(alert, state, span, now)]
    return sorted(meant, key=lambda alert: (-alert.start, alert.alert_id))


def page(alerts: list[TenantAlert], request: Request, size: int) -> tuple[list[TenantAlert], str | None]:
    """One page of them and the absolute address of the next."""
    size = _size(request, size)
    first = _first(request)
    rest = first + size
    if rest >= len(alerts):
        return alerts[first:], None
    cursor = base64.urlsafe_b64encode(f"after:{rest}".encode()).decode()
    query = urlencode({**request.query, "cursor": cursor})
    return alerts[first:rest], f"{request.base_url}/alerts?{query}"


def _is_meant(alert: TenantAlert, state: str | None, span: Range | None, now: float) -> bool:
    cleared = alert.end if alert.end is not None and alert.end <= now else None
    if span is None:
        return (cleared is not None) == (state == "clear")
    if cleared is not None:
        return state != "trigger" and cleared in span
    if state is None:
        return alert.start < span.end
    return state == "trigger" and alert.start in span


def _range(request: Request, now: float) -> Range | None:
    query = request.query
    if "window" in query:
        if "startDate" in query or "endDate" in query:
            raise _refusal(request, "window", "window cannot be used with startDate or endDate")
        return Range(start=now - _interval(request, query["window"]), end=now)
    if "endDate" in query and "startDate" not in query:
        raise _refusal(request, "endDate", "endDate must be used with startDate")
    if "startDate" not in query:
        return None
    end = _moment(request, "endDate") if "endDate" in query else now
    return Range(start=_moment(request, "startDate"), end=end)


def _interval(request: Request, text: str) -> float:
    match = _INTERVAL.fullmatch(text)
    if not match:
        raise _refusal(request, "window", "window must be a number with s, m, h, d or w")
    return float(int(match[1]) * _SECONDS[match[2]])


def _moment(request: Request, key: str) -> float:
    seconds = date_seconds(request.query[key])
    if seconds is None:
        raise _refusal(request, key, f"{key} must be an ISO date-time in UTC")
    return seconds


def _size(request: Request, default: int) -> int:
    text = request.query.get("max", str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise _refusal(request, "max", "max must be a number over zero")
    return min(int(text), default)


def _first(request: Request) -> int:
    cursor = request.query.get("cursor")
    if cursor is None:
        return 0
    try:
        word, _, number = base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").partition(":")
        if word == "after" and number.isdigit():
            return int(number)
    except ValueError:
        pass
    raise _refusal(request, "cursor", "cursor is not one of this server's")


def _refusal(request: Request, field: str, message: str) -> Refusal:
    return Refusal(invalid([{"code": "ALERTS-400", "field": field, "message": message}], request.path))
