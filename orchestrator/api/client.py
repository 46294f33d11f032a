"""One attempt at one call of the API: what is sent, what comes back, and whether it may have gone out.

An answer of any kind, or none, is a value: only a caller's own refusal before the first byte is raised.
Nothing is sent twice, no redirect is followed, and proxies and CA bundles are those the settings or the
environment name, never those of a netrc.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlencode, urlsplit

from requests import PreparedRequest, Request, Response

from orchestrator.api.attempt import CREDENTIAL_MARK, CURRENT, Attempt, Seal, Watchdog
from orchestrator.api.failures import _FAILURES, _why
from orchestrator.api.proxy import proxy_for
from orchestrator.api.response import Answer, Call
from orchestrator.api.transport import Adapter, tls_context
from orchestrator.core import Clock, Http, Task, check_base_url, utc_text

__all__ = ["Answer", "Call", "Client", "snapshot_call"]

MOST_LISTED = 64 * 2**20
"""The most bytes of a list that are read: 40,000 tests are about 60 MiB."""

MOST_ANSWERED = 2**20
"""The most bytes of any other answer: a snapshot has about 2 KiB."""

_ACCEPT = "application/hal+json, application/json, application/problem+json"

_CHUNK = 2**16

_ABORTED = "aborted by this program before an answer came"


class Client:
    """The API of one organization; any number of threads may send at once.

    `bearer` is asked for the credential's text for each attempt. UsageError for a base URL, proxy or CA
    bundle that cannot be used.
    """

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
        self._headers = {
            "Accept": _ACCEPT,
            "Accept-Encoding": "identity",
            "Authorization": CREDENTIAL_MARK,
            "User-Agent": user_agent,
        }
        proxy = proxy_for(self.base_url, http.proxy, environ)
        self._proxies = {"https": proxy} if proxy else {}
        self._adapter = Adapter(_context(self.base_url, http, environ))
        self._watchdog = Watchdog(clock)
        self.closed = False

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

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
            seal=Seal(self._bearer),
            before_first_byte=before_first_byte,
        )
        current = CURRENT.set(attempt)
        self._watchdog.watch(attempt)
        try:
            answer = (
                self._exchange(call, attempt) if not self.closed else Answer(sent=False, failure=_ABORTED)
            )
        finally:
            self._watchdog.release(attempt)
            CURRENT.reset(current)
        if attempt.refusal is not None:  # outside the except clause that saw it: no context, no other frames
            raise attempt.refusal
        return answer

    def abort_all(self) -> None:
        """Cut off whatever is under way, at once; the threads that wait for it get their answers."""
        self._watchdog.cut_all(_ABORTED)

    def close(self) -> None:
        """Cut off what is under way and close all connections; nothing more is sent."""
        self.closed = True
        self.abort_all()
        self._adapter.close()

    def _exchange(self, call: Call, attempt: Attempt) -> Answer:
        try:
            response = self._adapter.send(
                self._prepared(call), stream=True, timeout=attempt.remaining(), proxies=self._proxies
            )
        except _FAILURES as error:
            return Answer(sent=attempt.sent, failure=_why(error, attempt))
        offset = date_offset(response.headers.get("Date"), self._clock.wall())
        with closing(response):
            body, failure = _read(response, MOST_LISTED if call.method == "GET" else MOST_ANSWERED, attempt)
        mask = attempt.seal.mask
        headers = {name.lower(): mask(value.encode()).decode() for name, value in response.headers.items()}
        return Answer(
            sent=True,
            status=response.status_code,
            headers=headers,
            body=mask(body),
            failure=failure,
            date_offset=offset,
        )

    def _prepared(self, call: Call) -> PreparedRequest:
        url = self.base_url.rstrip("/") + call.path
        if call.query:
            url += "?" + urlencode(call.query, quote_via=quote)
        headers = dict(self._headers)
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        return Request(call.method, url, headers=headers, data=call.body).prepare()


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


def _context(base_url: str, http: Http, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    if urlsplit(base_url).scheme == "http":
        return None
    from_environ = environ.get("REQUESTS_CA_BUNDLE") or environ.get("SSL_CERT_FILE")
    return tls_context(http.ca_bundle or from_environ or None)


def _read(response: Response, most: int, attempt: Attempt) -> tuple[bytes, str | None]:
    """The body, as far as it came, and what is wrong with it."""
    body = bytearray()
    try:
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > most:
                return b"", f"the answer is larger than {most // 2**20} MiB"
    except _FAILURES as error:
        return bytes(body), _why(error, attempt)
    return bytes(body), attempt.cut  # a cut connection ends like an answer without a declared length


def date_offset(date: str | None, wall: float) -> float | None:
    """The server's clock minus ours, in seconds."""
    with suppress(TypeError, ValueError, OverflowError):
        return parsedate_to_datetime(date or "").timestamp() - wall
    return None
