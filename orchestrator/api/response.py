"""The answer to one attempt, and how to read answers of which every part may be missing. Pure.

Whatever form an error has, it becomes a title and a detail that a user can act on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html import unescape
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import urlsplit

from orchestrator.core import EARLIEST, LATEST, Problem, without_credentials
from orchestrator.windows import parse_instant

_TITLE, _DETAIL, _FIELDS = 120, 500, 20  # what a report's cell, a log line and a screen hold

_LONGEST_CREDENTIAL = 2000  # characters: what may be left out of a text that is cut before it is looked at

_HEADING = re.compile(r"(?is)<title[^>]*>(.*?)</title>|<h1[^>]*>(.*?)</h1>")

_TAG = re.compile(r"(?s)<[^>]*>")

_CONTROL = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no store takes half a surrogate pair, PostgreSQL no NUL


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outer side of what came of one attempt: bytes, or the reason why there are none.

    `sent`: the first request byte may have left; when False the server has no part of the request.
    `status` is None without a readable answer. `failure` says in plain words why there is none or why it
    is not whole; `headers` have lower-case names; `date_offset` is the server's `Date` minus our wall clock
    at receipt, in seconds.
    """

    sent: bool
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: str | None = None
    date_offset: float | None = None


def explain(answer: Answer, *, hint: str = "") -> Problem:
    """The problem that an answer tells of, readable whatever its form; the hint ends the detail."""
    parsed = parse_object(answer.body)
    title, detail = "", ""
    fields: tuple[tuple[str, str], ...] = ()
    if parsed:
        title, detail, fields = _from_json(parsed)
    elif answer.body.lstrip()[:1] == b"<":
        title, detail = _from_html(answer.body)
    elif answer.body:
        detail = clean(answer.body.decode("utf-8", "replace"), _DETAIL)
    location = answer.headers.get("location")
    if location and answer.status is not None and 300 <= answer.status < 400:
        detail = _redirected(location)
    cut = sentence(answer.failure) if answer.failure else ""
    parts = (sentence(detail) if detail else "", cut, hint)
    return Problem(
        title=title or _reason(answer.status), detail=" ".join(part for part in parts if part), fields=fields
    )


def clean(text: str, most: int) -> str:
    """One line of printable text, shortened, with what looks like a credential masked."""
    start = _CONTROL.sub(" ", text).strip()[: most + _LONGEST_CREDENTIAL]
    line = without_credentials(start, "***")
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def parse_object(body: bytes) -> Mapping[str, Any] | None:
    """The JSON object in a body, or None; what no store and no stream takes is replaced in its texts."""
    with suppress(ValueError, RecursionError):
        found = json.loads(body, object_pairs_hook=_storable)
        return found if isinstance(found, dict) else None
    return None


def as_object(value: object) -> Mapping[str, Any]:
    """The value when it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def dig(value: object, *names: str) -> object:
    """The value below these names; None when the way there ends early."""
    for name in names:
        value = as_object(value).get(name)
    return value


def text_id(value: object) -> str | None:
    """An id as text, whether it came as text or as a number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def instant(value: object) -> float | None:
    """Epoch seconds of an ISO 8601 text (UTC when it has no offset), or of a number.

    None for anything else, and for what no clock shows, such as milliseconds.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if EARLIEST <= value < LATEST else None
    with suppress(ValueError):
        return parse_instant(value, timezone="UTC")[0] if isinstance(value, str) else None
    return None


def sentence(text: str | None) -> str:
    """The text as a sentence: it starts with a capital letter and ends with a full stop."""
    line = (text or "no reason is known").strip()
    return f"{line[:1].upper()}{line[1:]}" + ("" if line.endswith((".", "!", "?", "…")) else ".")


def text_of(value: object) -> str | None:
    """The value when it is text with something in it."""
    return value.strip() or None if isinstance(value, str) else None


def _storable(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose texts can be stored; those in a list are looked through as well."""
    return {_plain(key): _plain(value) for key, value in pairs}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _from_json(found: Mapping[str, Any]) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Title, detail and fields of problem+json, of the 401's form and of the legacy one."""
    errors = found.get("errors")
    listed = errors if isinstance(errors, list) else []
    fields = tuple(pair for pair in map(_field, listed[:_FIELDS]) if pair is not None)
    loose = "; ".join(text for text in map(text_of, listed[:_FIELDS]) if text)
    title = text_of(found.get("title")) or text_of(found.get("error")) or text_of(found.get("errorMessage"))
    detail = (
        text_of(found.get("detail"))
        or text_of(found.get("error_description"))
        or text_of(found.get("message"))
    )
    return clean(title or "", _TITLE), clean(detail or loose, _DETAIL), fields


def _field(error: object) -> tuple[str, str] | None:
    """The (field, message) of one entry of a 400's list."""
    found = as_object(error)
    name = text_of(found.get("field")) or text_of(found.get("code")) or ""
    message = text_of(found.get("message")) or text_of(found.get("code")) or ""
    return (clean(name, _TITLE), clean(message, _DETAIL)) if name or message else None


def _from_html(body: bytes) -> tuple[str, str]:
    page = body.decode("utf-8", "replace")
    heading = _HEADING.search(page)
    inner = (heading[1] or heading[2] or "") if heading else ""
    title = clean(unescape(_TAG.sub(" ", inner)), _TITLE)
    return title, "A web page came back: a gateway or proxy answered, not the API."


def _redirected(location: str) -> str:
    """Where a redirect points, without the parts of an address that may hold secrets."""
    with suppress(ValueError):
        parts = urlsplit(location)
        there = clean(f"{parts.hostname or 'the same host'}{parts.path}", _TITLE)
        return f"Redirected to {there}; redirects are not followed: check base_url."
    return "Redirected, which is not followed: check base_url."


def _reason(status: int | None) -> str:
    if status is None:
        return "No answer"
    if status < HTTPStatus.MULTIPLE_CHOICES or status not in responses:  # "OK" names no trouble
        return f"HTTP status {status}"
    return responses[status].capitalize()
