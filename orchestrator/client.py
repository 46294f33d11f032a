"""One attempt at one call of the API: what is sent, what comes back, and whether it may have gone out.

An answer of any kind, or none, is a value: only a caller's own refusal before the first byte is raised.
Nothing is sent twice, no redirect is followed, and proxies and CA bundles are those the settings or the
environment name, never those of a netrc.
"""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from socket import gaierror
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from requests import PreparedRequest, Request, RequestException, Response
from urllib3.exceptions import DecodeError, HTTPError

from orchestrator.addresses import is_loopback, unencrypted
from orchestrator.answer import Answer, Call
from orchestrator.clock import Clock
from orchestrator.errors import UsageError
from orchestrator.instants import utc_text
from orchestrator.model import Http, Task
from orchestrator.wire import CREDENTIAL_MARK, CURRENT, Adapter, Attempt, Seal, Stopped, Watchdog, tls_context

__all__ = ["Answer", "Call", "Client", "snapshot_call"]

MOST_LISTED = 64 * 2**20
"""The most bytes of a list that are read: 40,000 tests are about 60 MiB."""

MOST_ANSWERED = 2**20
"""The most bytes of any other answer: a snapshot has about 2 KiB."""

_ACCEPT = "application/hal+json, application/json, application/problem+json"
_CHUNK = 2**16
_ABORTED = "aborted by this program before an answer came"
_FAILURES = (Stopped, RequestException, HTTPError, HTTPException, OSError, ValueError)
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3}[^\x00-\x1f\x7f]{0,60})")
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
)


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


def check_base_url(base_url: str) -> str:
    """The base URL as written; UsageError unless it is https, or http to loopback, and nothing but an address."""
    parts = urlsplit(base_url)
    try:
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError("base_url: its port is not a number between 0 and 65535") from None
    if parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            "base_url holds a name, a password, a query or a fragment: write https://HOST/v7 alone"
        )
    if not host or parts.scheme not in ("https", "http"):
        raise UsageError(f"base_url {base_url!r} is not an address: write https://HOST/v7")
    if unencrypted(parts.scheme, host):
        raise UsageError(f"base_url {base_url!r} would send the API token unencrypted: write https://")
    return base_url


def proxy_for(base_url: str, configured: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL: the configured one or the environment's, none for loopback and what NO_PROXY names."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    proxy = configured or _variable(environ, "https_proxy", "all_proxy")
    if not proxy or is_loopback(host):
        return None
    if bypasses(host, parts.port or 443, _variable(environ, "no_proxy") or ""):
        return None
    return _check_proxy(proxy if "://" in proxy else f"http://{proxy}")


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """Whether a NO_PROXY list names this host: `*`, domains with all that is below them, addresses, networks."""
    entries = (
        entry.strip().lower().lstrip("*.") if entry.strip() != "*" else "*" for entry in no_proxy.split(",")
    )
    return any(_names(entry, host.lower().rstrip("."), port) for entry in entries if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    name, _, wanted = entry.partition(":")
    return (host == name or host.endswith(f".{name}")) and wanted in ("", str(port))


def _check_proxy(proxy: str) -> str:
    """The proxy as written; an error never quotes it, as it may hold a password."""
    parts = urlsplit(proxy)
    try:
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if parts.scheme not in ("http", "https") or not usable:
        raise UsageError("the proxy is not an address this program can use: write http://HOST:PORT")
    return proxy


def _variable(environ: Mapping[str, str], *names: str) -> str | None:
    """The first of these variables that is set; the lower-case spelling first, as curl and requests do."""
    spellings = (spelling for name in names for spelling in (name, name.upper()))
    return next((environ[spelling] for spelling in spellings if environ.get(spelling)), None)


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


def _why(error: BaseException, attempt: Attempt) -> str:
    """Why there is no whole answer, in plain words; nothing that the server sent is quoted."""
    if attempt.cut is not None:
        return attempt.cut
    root = _root(error)
    if isinstance(root, TimeoutError):
        return attempt.late()
    return next(words(root, attempt.peer) for kind, words in _WORDS if isinstance(root, kind))


def _why_tls(error: ssl.SSLError, peer: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = str(error.verify_message).rstrip(".")
        return (
            f"the TLS certificate of {peer} is not accepted: {reason} (a company's own CA goes into "
            "http.ca_bundle)"
        )
    if error.reason in _NOT_TLS:
        return f"{peer} does not speak TLS"
    return (
        f"TLS with {peer} failed: {(error.reason or 'the connection was closed').lower().replace('_', ' ')}"
    )


def _why_system(error: OSError, peer: str) -> str:
    refused = _TUNNEL.search(str(error))
    if refused:
        return f"{peer} refused the tunnel: {refused[1].strip()}"
    return f"no connection to {peer}: {error.strerror or type(error).__name__}"


def _root(error: BaseException) -> BaseException:
    """The error at the bottom of what requests and urllib3 wrapped around it."""
    for _ in range(10):  # deeper than any nesting of theirs
        inner = [getattr(error, "reason", None), *reversed(error.args), error.__cause__]
        causes = [cause for cause in inner if isinstance(cause, BaseException)]
        if not causes or isinstance(error, DecodeError | IncompleteRead):
            break
        error = causes[0]
    return error


def _why_unknown_name(error: gaierror, peer: str) -> str:
    return f"the address of {peer.rpartition(':')[0]} cannot be found: {error.strerror}"


_WORDS: tuple[tuple[type[BaseException], Callable[[Any, str], str]], ...] = (  # subclasses before their bases
    (Stopped, lambda error, _: str(error)),
    (ssl.SSLError, _why_tls),
    (gaierror, _why_unknown_name),
    (ConnectionRefusedError, lambda _, peer: f"connection refused by {peer}"),
    (RemoteDisconnected, lambda _, peer: f"{peer} closed the connection without an answer"),
    (ConnectionError, lambda _, peer: f"the connection was reset by {peer}"),
    (IncompleteRead, lambda _, __: "the answer was cut off"),
    (DecodeError, lambda _, __: "the answer is compressed and cannot be decoded"),
    (OSError, _why_system),
    (BaseException, lambda error, peer: f"what {peer} answered is not valid HTTP ({type(error).__name__})"),
)
