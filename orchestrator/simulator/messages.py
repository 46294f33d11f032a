"""Request and reply: what crosses the wire, without the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import responses

PREFIX = "/v7"
HAL = "application/hal+json"
PLAIN = "application/json"
PROBLEM = "application/problem+json"
_OFFICIAL = "https://api.thousandeyes.com"  # where links lead when a request names no host

_TITLES = {  # where the published examples have other words than HTTP
    400: "Request validation failed. There are invalid or missing fields",
    404: "URI Resource Not Found",
    500: "Internal server error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; `path` begins with /v7, header names may have any case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The header's value, whatever its case."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    @property
    def base_url(self) -> str:
        """The absolute address of /v7, as this client reached it."""
        host = self.header("Host")
        return (f"http://{host}" if host else _OFFICIAL) + PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> object:
        """The body, read as JSON."""
        return json.loads(self.body)

    def with_headers(self, headers: Mapping[str, str]) -> Reply:
        """The same answer with these headers too."""
        return replace(self, headers={**self.headers, **headers})


class Refusal(Exception):
    """The origin refuses a request; carries the whole answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def answer(status: int, content: object, media_type: str = HAL) -> Reply:
    """An answer with a JSON body, in UTF-8 and without needless spaces."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(status=status, headers={"Content-Type": media_type}, body=body)


def problem(status: int, detail: str, instance: str = PREFIX, **more: object) -> Reply:
    """An error as RFC 7807 has it."""
    title = _TITLES.get(status) or responses.get(status, "Error")
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return answer(status, {**body, "instance": instance, **more}, PROBLEM)


def invalid(errors: list[dict[str, str]], instance: str) -> Reply:
    """A 400 that names every wrong field."""
    return problem(400, "Your request object contains invalid fields.", instance, errors=errors)


def iso(seconds: float) -> str:
    """Epoch seconds as the API writes dates: UTC, whole seconds, Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
