"""The answer to one attempt, and how to read answers of which every part may be missing. Pure.

Whatever form an error has, it becomes a title and a detail that a user can act on.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import urlsplit

from orchestrator.core import EARLIEST, LATEST, Problem, without_credentials
from orchestrator.windows import parse_instant

MOST_RETRY_AFTER = 3600.0
"""Seconds: a server that asks for a longer wait is asked again after this."""

GENERAL_PERIOD = 60.0
"""Seconds of the general limit's window (documented), for an answer whose `Reset` says nothing usable."""

ASK_WHO_ANSWERS = "Log in to the network, or check the proxy and base_url."
"""The advice where somebody else answers in the API's place."""

_DATE_FROM = 1e9  # a Reset above is an instant in epoch seconds, one below a number of seconds

_TITLE, _DETAIL, _FIELDS = 120, 500, 20  # what a report's cell, a log line and a screen hold

_SERVER = 40  # characters of a server's name for itself

_LONGEST_CREDENTIAL = 2000  # characters: what may be left out of a text that is cut before it is looked at

_LOOKED_AT = 2**20  # bytes of a page or text that is no JSON: what it says stands at its beginning

_HEADINGS = (b"title", b"h1")

_LONGEST_HEADING = 4000  # bytes: far more than is shown, and Python reads no number of 4,300 digits

_CONTROL = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # no store takes half a surrogate pair, PostgreSQL no NUL


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of one attempt: bytes and headers, or the reason why there are none.

    `sent`: the first request byte may have left; when False the server has no part of the request.
    `status` is None without a readable answer. `failure` says in plain words why there is none or why it
    is not whole; `lasting`: it will stay so until somebody changes something on the way. `headers` have lower-case
    names; `date_offset` is the server's `Date` minus our wall clock at receipt, in seconds.
    """

    sent: bool
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: str | None = None
    lasting: bool = False
    date_offset: float | None = None


def explain(answer: Answer, *, hint: str = "") -> Problem:
    """The problem that an answer tells of, readable whatever its form; the hint ends the detail."""
    parsed = parse_object(answer.body)
    title, detail = "", ""
    fields: tuple[tuple[str, str], ...] = ()
    if parsed:
        title, detail, fields = _read_json(parsed)
    elif is_page(answer):
        title, detail = _read_html(answer.body[:_LOOKED_AT])
    elif answer.body:
        detail = clean(answer.body[:_LOOKED_AT].decode("utf-8", "replace"), _DETAIL)
    location = answer.headers.get("location")
    if location and answer.status is not None and 300 <= answer.status < 400:
        detail = _describe_redirect(location)
    return Problem(
        title=title or _describe_status(answer.status),
        detail=" ".join([*map(sentence, filter(None, (detail, answer.failure))), hint]).strip(),
        fields=fields,
    )


def is_page(answer: Answer) -> bool:
    """True if the body is a web page, which the API never sends: a gateway, proxy or sign-in page answered."""
    return answer.body.lstrip()[:1] == b"<" or (
        bool(answer.body) and "html" in answer.headers.get("content-type", "").lower()
    )


def is_whole(answer: Answer) -> bool:
    """True if the body is known to have come to its end: where nothing declares its length, by how it reads."""
    declared = not {"content-length", "transfer-encoding"}.isdisjoint(answer.headers)
    bodiless = answer.status in (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT)
    return answer.failure is None and (
        declared or bodiless or is_page(answer) or parse_object(answer.body) is not None
    )


def find_stranger(answer: Answer) -> str:
    """The sender that seems to have answered in the API's place, by an answer that is no success; empty where it may be the API.

    The API redirects nobody and refuses in JSON or without words. A 401 or 429 is obeyed whoever sends it.
    """
    status = answer.status or 0
    obeyed = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    refused = 400 <= status < 500 and not obeyed and is_page(answer)
    return describe_stranger(answer) if 300 <= status < 400 or refused else ""


def describe_stranger(answer: Answer) -> str:
    """The sender that seems to have answered in the API's place, by what came: `a web page titled 'Sign in' (200, server nginx)`."""
    if answer.headers.get("location") and answer.status is not None and answer.status // 100 == 3:
        what = f"a redirect to {_describe_place(answer.headers['location'])}"
    elif is_page(answer):
        title, _ = _read_html(answer.body)
        what = f"a web page titled {title!r}" if title else "a web page"
    elif parse_object(answer.body) is not None:
        what = "JSON that is not the API's"
    else:
        what = "text that is not the API's" if answer.body.strip() else "an empty answer"
    server = clean(answer.headers.get("server", ""), _SERVER)
    return f"{what} ({answer.status}{f', server {server}' if server else ''})"


def stranger_text(who: str) -> str:
    """The reason to send nothing more to an address where somebody else answers."""
    return f"something else answers in the API's place: {who}. {ASK_WHO_ANSWERS}"


def clean(text: str, most: int) -> str:
    """One line of printable text, shortened, with what looks like a credential masked."""
    start = _CONTROL.sub(" ", text).strip()[: most + _LONGEST_CREDENTIAL]
    line = without_credentials(start, "***")
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def parse_object(body: bytes) -> Mapping[str, Any] | None:
    """The JSON object in a body, or None; what no store and no stream takes is replaced in its texts."""
    with suppress(ValueError, RecursionError):
        found = json.loads(body, object_pairs_hook=_storable_object)
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


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds a `Retry-After` asks for, its date taken relative to the answer's `Date`; 1 s to 1 h."""
    text = headers.get("retry-after", "")
    seconds = number(text)
    if seconds is None:
        until, now = http_date(text), http_date(headers.get("date"))
        seconds = None if until is None or now is None else until - now
    return None if seconds is None else min(max(seconds, 1.0), MOST_RETRY_AFTER)


def general_reset(headers: Mapping[str, str]) -> float:
    """Seconds until the general limit's window ends, a date taken relative to the answer's `Date`."""
    reset = number(headers.get("x-organization-rate-limit-reset"))
    if reset is not None and reset > _DATE_FROM:
        now = http_date(headers.get("date"))
        reset = None if now is None else reset - now
    return GENERAL_PERIOD if reset is None else min(max(reset, 1.0), MOST_RETRY_AFTER)


def number(text: str | None) -> float | None:
    """A header's number, zero or more; None for anything else."""
    with suppress(ValueError):
        value = float(text or "")
        return value if 0 <= value < math.inf else None
    return None


def http_date(text: str | None) -> float | None:
    """Epoch seconds of a header's date; None for anything else."""
    with suppress(TypeError, ValueError, OverflowError):
        return parsedate_to_datetime(text or "").timestamp()
    return None


def date_offset(date: str | None, wall: float) -> float | None:
    """The server's clock minus ours, in seconds; None when its `Date` is missing or broken."""
    now = http_date(date)
    return None if now is None else now - wall


def _storable_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose texts can be stored; those in a list are looked through as well."""
    return {_storable_value(key): _storable_value(value) for key, value in pairs}


def _storable_value(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    return [_storable_value(one) for one in value] if isinstance(value, list) else value


def _read_json(found: Mapping[str, Any]) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Title, detail and fields of problem+json, of the 401's form and of the legacy one."""
    errors = found.get("errors")
    listed = errors if isinstance(errors, list) else []
    fields = tuple(pair for pair in map(_read_field, listed[:_FIELDS]) if pair is not None)
    loose = "; ".join(text for text in map(text_of, listed[:_FIELDS]) if text)
    title = text_of(found.get("title")) or text_of(found.get("error")) or text_of(found.get("errorMessage"))
    detail = (
        text_of(found.get("detail"))
        or text_of(found.get("error_description"))
        or text_of(found.get("message"))
    )
    return clean(title or "", _TITLE), clean(detail or loose, _DETAIL), fields


def _read_field(error: object) -> tuple[str, str] | None:
    """The (field, message) of one entry of a 400's list."""
    found = as_object(error)
    name = text_of(found.get("field")) or text_of(found.get("code")) or ""
    message = text_of(found.get("message")) or text_of(found.get("code")) or ""
    return (clean(name, _TITLE), clean(message, _DETAIL)) if name or message else None


def _read_html(body: bytes) -> tuple[str, str]:
    from html import unescape  # with its table of entities: only where a page came

    lower = body.lower()  # of bytes: ASCII alone, so that places stay places
    titles = (clean(unescape(_without_tags(_find_heading(body, lower, name))), _TITLE) for name in _HEADINGS)
    title = next(filter(None, titles), "")
    return title, "A web page came back: a gateway or proxy answered, not the API."


def _find_heading(body: bytes, lower: bytes, name: bytes) -> str:
    """The text within the first element of this name, each search going on where the last one ended."""
    tag = lower.find(b"<" + name)
    start = lower.find(b">", tag) + 1 if tag >= 0 else 0
    end = lower.find(b"</" + name, start) if start else -1
    return body[start : min(end, start + _LONGEST_HEADING)].decode("utf-8", "replace") if end >= 0 else ""


def _without_tags(text: str) -> str:
    """The text with a space in place of each tag; a `<` without its `>` stays."""
    first, *pieces = text.split("<")
    return first + "".join(f" {piece.partition('>')[2]}" if ">" in piece else f"<{piece}" for piece in pieces)


def _describe_redirect(location: str) -> str:
    """Where a redirect points, without the parts of an address that may hold secrets."""
    return f"Redirected to {_describe_place(location)}; redirects are not followed: check base_url."


def _describe_place(location: str) -> str:
    with suppress(ValueError):
        parts = urlsplit(location)
        return clean(f"{parts.hostname or 'the same host'}{parts.path}", _TITLE)
    return "no address"


def _describe_status(status: int | None) -> str:
    if status is None:
        return "No answer"
    if status < HTTPStatus.MULTIPLE_CHOICES or status not in responses:  # "OK" names no trouble
        return f"HTTP status {status}"
    return responses[status].capitalize()
