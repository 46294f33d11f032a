"""The client of one organization's API: a call becomes one attempt, and the attempt an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

from requests import Request

from orchestrator.api.attempt import Attempt
from orchestrator.api.credentials import CREDENTIAL_MARK, Authorization
from orchestrator.api.response import Answer
from orchestrator.api.transport import Transport
from orchestrator.core import Clock, Http, Task, check_base_url, utc_text

MOST_LISTED = 64 * 2**20
"""The most bytes of a list that are read: 40,000 tests are about 60 MiB."""

MOST_ANSWERED = 2**20
"""The most bytes of any other answer: a snapshot has about 2 KiB."""

_HEADERS = {
    "Accept": "application/hal+json, application/json, application/problem+json",
    "Accept-Encoding": "identity",
    "Authorization": CREDENTIAL_MARK,
}


class Call(NamedTuple):
    """A call of the API: `path` counts from the base URL."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


class Client:
    """The API of one organization; any number of threads may send at once.

    `bearer` is asked for the credential's text for each attempt. UsageError for a base URL, proxy or CA
    bundle that cannot be used.
    """

    __slots__ = ("_bearer", "_clock", "_timeout", "_transport", "_user_agent", "base_url")

    def __init__(
        self,
        base_url: str,
        bearer: Callable[[], str],
        *,
        clock: Clock,
        http: Http,
        user_agent: str,
        environ: Mapping[str, str],
    ) -> None:
        self.base_url = check_base_url(base_url)
        self._bearer, self._clock, self._timeout = bearer, clock, http.timeout
        self._user_agent = user_agent
        self._transport = Transport(self.base_url, clock=clock, http=http, environ=environ)

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    @property
    def closed(self) -> bool:
        """True once nothing more is sent."""
        return self._transport.closed

    def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> Answer:
        """Read something, within the usual timeout."""
        call = Call(method="GET", path=path, query=query)
        return self.send(call, deadline=self._clock.boot() + self._timeout)

    def send(
        self, call: Call, *, deadline: float, before_first_byte: Callable[[], None] | None = None
    ) -> Answer:
        """Make one attempt; `deadline` is in the boot clock's seconds, and there the connection is cut.

        `before_first_byte` is called once, when everything up to TLS and a proxy's tunnel stands. If it
        raises, not a byte of the request leaves and the exception passes through.
        """
        attempt = Attempt(
            clock=self._clock,
            deadline=deadline,
            authorization=Authorization(self._bearer),
            before_first_byte=before_first_byte,
        )
        most = MOST_LISTED if call.method == "GET" else MOST_ANSWERED
        return self._transport.exchange(self._request(call), attempt, most=most)

    def abort_all(self) -> None:
        """Cut off whatever is under way, at once; the threads that wait for it get their answers."""
        self._transport.abort_all()

    def close(self) -> None:
        """Cut off what is under way and close all connections; nothing more is sent."""
        self._transport.close()

    def _request(self, call: Call) -> Request:
        url = self.base_url.rstrip("/") + call.path
        if call.query:
            url += "?" + urlencode(call.query, quote_via=quote)
        headers = _HEADERS | {"User-Agent": self._user_agent}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        return Request(call.method, url, headers=headers, data=call.body)


def snapshot_call(task: Task) -> Call:
    """The call that makes this task's snapshot; `isPublic` is sent as it was written."""
    wanted = {
        "displayName": task.display_name,
        "startDate": utc_text(task.window.start),
        "endDate": utc_text(task.window.end),
        "isPublic": task.is_public,
    }
    return Call(
        method="POST",
        path=f"/tests/{quote(task.test_id, safe='')}/snapshot",
        query=(("aid", task.account_group),) if task.account_group else (),
        body=json.dumps(wanted).encode(),
    )
