"""HTTP to one server: an exchange is one attempt, cut off at its deadline, and never sent twice.

An answer of any kind, or none, is a value: only a caller's own refusal before the first byte is raised.
Proxies and CA bundles are those that the settings or the environment name, never those of a netrc.

Exception classes do not tell whether a request went out: the same ones occur on both sides of the first
byte. So a connection asks its `Attempt` right before that byte, and the attempt keeps the answer. Nothing
here sends twice: there is no retry, no redirect and no quiet reconnecting.
"""

from __future__ import annotations

import logging
import ssl
import threading
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from orchestrator.api.attempt import CURRENT, WATCHDOG, Attempt, Stopped
from orchestrator.api.failures import FAILURES, judge_failure
from orchestrator.api.proxy import find_proxy
from orchestrator.api.response import Answer, date_offset
from orchestrator.core import Clock, Http, UsageError, host_port, normalise_url

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from requests import Request, Response
    from urllib3 import HTTPResponse
    from urllib3._base_connection import BaseHTTPConnection

CONNECTIONS = 128
"""Connections kept open to one server: as many as there are requests under way at once (`worker.sender`)."""

IDLE = 10.0
"""Seconds after which an idle connection is not used again: balancers drop such ones silently."""

_CHUNK = 2**16

_HASHED = "[0-9a-f]" * 8 + ".[0-9]*"  # OpenSSL looks for no other names in a folder of certificates

_ABORTED = "aborted by this program before an answer came"

# urllib3 quotes there what servers send, word for word: an echoed credential too.
logging.getLogger("urllib3.connection").addFilter(lambda _: False)


class Transport:
    """The way to one server, for one of those who send there; any number of threads may use it at once.

    Connections are shared with all others who send to the same server by the same proxy and CA bundle: who sends
    stands in each request alone. UsageError for a proxy or CA bundle that cannot be used.
    """

    __slots__ = ("_clock", "_way", "closed")

    def __init__(self, url: str, *, clock: Clock, http: Http, environ: Mapping[str, str]) -> None:
        self._way = share_way(url, http, environ)
        self._clock = clock
        self.closed = False

    def exchange(
        self, request: Request, attempt: Attempt, *, most: int, only_refusals: bool = False
    ) -> Answer:
        """Send the request once; the answer has at most this many bytes of body, and none of a longer one.

        With `only_refusals` the body of a 2xx is not waited for.
        """
        with WATCHDOG.watch(attempt, self):  # before the look at `closed`: closing cuts off what is watched
            answer = (
                Answer(sent=False, failure=_ABORTED)
                if self.closed
                else self._send(request, attempt, most, only_refusals=only_refusals)
            )
        if attempt.refusal is not None:  # outside the except clause that saw it: no context, no other frames
            raise attempt.refusal
        return answer

    def abort_all(self) -> None:
        """Cut off whatever is under way here, at once; the threads that wait for it get their answers."""
        WATCHDOG.cut_all(self, _ABORTED)

    def close(self) -> None:
        """Cut off what is under way here and let the connections go; nothing more is sent."""
        if not self.closed:
            self.closed = True
            self.abort_all()
            self._way.let_go()

    def _send(self, request: Request, attempt: Attempt, most: int, *, only_refusals: bool) -> Answer:
        try:
            response = self._way.send(request, attempt)
        except FAILURES as error:
            failed = judge_failure(error, attempt)
            return Answer(sent=attempt.sent, failure=failed.text, lasting=failed.lasting)
        offset = date_offset(response.headers.get("Date"), self._clock.wall())
        with closing(response):
            unread = only_refusals and 200 <= response.status_code < 300
            body, failure = (b"", None) if unread else _read(response, most, attempt)
        mask = attempt.authorization.mask if attempt.authorization else bytes
        headers = {name.lower(): mask(value.encode()).decode() for name, value in response.headers.items()}
        return Answer(
            sent=True,
            status=response.status_code,
            headers=headers,
            body=mask(body),
            failure=failure,
            date_offset=offset,
        )


class Way:
    """Connections to one server by one proxy and CA bundle; they are closed when the last who sends there lets go."""

    def __init__(self, proxy: str | None, context: ssl.SSLContext | None) -> None:
        self.adapter = Adapter(context)
        self._proxies = {"https": proxy} if proxy else {}
        self._users = 0

    def send(self, request: Request, attempt: Attempt) -> Response:
        """Send the request over a connection that nobody else uses meanwhile; the body of the answer is not read yet."""
        return self.adapter.send(
            request.prepare(), stream=True, timeout=attempt.remaining(), proxies=self._proxies
        )

    def join(self) -> Way:
        """Send over it, too; returns it."""
        with _SHARING:
            self._users += 1
        return self

    def let_go(self) -> None:
        """Send nothing more over it."""
        with _SHARING:
            self._users -= 1
            left = self._users
        if not left:
            self.adapter.close()  # whoever comes later opens connections anew


_WAYS: WeakValueDictionary[tuple[str | None, ...], Way] = WeakValueDictionary()
"""The ways that are in use: by server, proxy (with its password) and CA bundle."""

_SHARING = threading.Lock()


def share_way(url: str, http: Http, environ: Mapping[str, str]) -> Way:
    """The way to this server that all who send there share."""
    proxy = find_proxy(url, http.proxy, environ)
    parts = urlsplit(url)
    bundle = None
    if parts.scheme == "https":
        bundle = http.ca_bundle or environ.get("REQUESTS_CA_BUNDLE") or environ.get("SSL_CERT_FILE") or None
    key = normalise_url(f"{parts.scheme}://{parts.netloc}"), proxy, bundle
    with _SHARING:
        way = _WAYS.get(key)
    if way is None:
        made = Way(proxy, tls_context(bundle) if parts.scheme == "https" else None)
        with _SHARING:
            way = _WAYS.setdefault(key, made)
    return way.join()


class Connection(HTTPConnection):
    """A connection that asks the current attempt before the first byte of each request."""

    attempt: Attempt | None = None
    idle_since = 0.0
    _guard: socket.socket | None = None  # a second name for the socket: TLS takes the first one away
    _connecting = False
    _reused = False
    _spent = False

    def awake(self, attempt: Attempt) -> None:
        """Serve this attempt, over the open connection unless it was idle for too long."""
        if self.sock is not None and attempt.clock.boot() - self.idle_since > IDLE:
            self.close()
        self.attempt, self._reused = attempt, self.sock is not None
        attempt.peer = f"{'the proxy ' if self.proxy else ''}{host_port(self.host, self.port)}"
        attempt.introduced = bool(self.proxy and self.proxy.auth)
        attempt.hold(self._guard)

    def rest(self) -> None:
        """Forget the attempt before the next one takes the connection; keep only what is fit for reuse."""
        if self.attempt is not None:
            self.attempt.hold(None)
            self.idle_since = self.attempt.clock.boot()
        self.attempt = None
        if self._spent:
            self.close()

    def connect(self) -> None:
        self._connecting = True
        try:
            super().connect()
        finally:
            self._connecting = False

    def _tunnel(self) -> None:
        super()._tunnel()  # http.client's, or urllib3's where that has to be corrected
        there, proxy = host_port(self._tunnel_host or "", self._tunnel_port), host_port(self.host, self.port)
        self._attempt().peer = f"{there} (through the proxy {proxy})"

    def _new_conn(self) -> socket.socket:
        attempt = self._attempt()
        host = self._dns_host.strip("[]")  # urllib3 leaves them around a proxy's address
        sock = attempt.dial(host, self.port, list(self.socket_options or ()))
        self._guard = sock.dup()
        attempt.hold(self._guard)
        return sock

    def send(self, data: Any) -> None:
        """Send a part of the request; what opens a tunnel through a proxy is not a part of it."""
        if self._connecting:
            super().send(data)
            return
        attempt = self._attempt()
        if self.sock is None:  # http.client would reconnect by itself, and send again
            raise Stopped("the connection was closed")
        attempt.begin(self.sock, reused=self._reused)
        try:
            self.sock.sendall(attempt.authorization.put(data) if attempt.authorization else data)
        except OSError as error:  # without the frames below: they hold the credential
            raise error.with_traceback(None) from None

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3's own
        response = super().getresponse()
        framed = response.length_remaining is not None or response.chunked
        self._spent = not framed or response.status < 200 or response.status in (204, 304)
        return response

    def close(self) -> None:
        super().close()
        self._spent = False
        if self._guard is not None:
            self._guard.close()
            self._guard = None

    def _attempt(self) -> Attempt:
        if self.attempt is None:
            raise Stopped("the connection serves no attempt")
        return self.attempt


class TlsConnection(Connection, HTTPSConnection):
    """The same over TLS."""


class Pool(HTTPConnectionPool):
    """Connections that know their attempt; open ones are used again only while they are fresh."""

    ConnectionCls = Connection

    def _get_conn(self, timeout: float | None = None) -> BaseHTTPConnection:
        connection = super()._get_conn(timeout)
        if isinstance(connection, Connection):
            connection.awake(CURRENT.get())
        return connection

    def _put_conn(self, conn: BaseHTTPConnection | None) -> None:
        if isinstance(conn, Connection):
            conn.rest()
        super()._put_conn(conn)

    def _validate_conn(self, conn: BaseHTTPConnection) -> None:
        super()._validate_conn(conn)
        if conn.is_closed:
            conn.connect()


class TlsPool(Pool, HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = TlsConnection


POOLS = {"http": Pool, "https": TlsPool}
"""The pools of these connections, as urllib3 looks them up."""


class Adapter(HTTPAdapter):
    """requests' transport over our connections: one TLS context, no retries.

    It is used without a `Session`: redirects, cookies, netrc and the environment all live there.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=CONNECTIONS, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **more)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        contexts = {"ssl_context": self._context, "proxy_ssl_context": self._context}
        found = super().proxy_manager_for(proxy, **contexts, **more)
        found.pool_classes_by_scheme = POOLS
        return found

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool alone: certificates are checked by the context, always."""


@lru_cache(maxsize=8)
def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """The TLS settings of all connections that trust this bundle (None: the one requests ships with)."""
    source = Path(ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    try:
        if not source.is_dir():
            context.load_verify_locations(cafile=source)
        elif not any(source.glob(_HASHED)):
            raise UsageError(
                _describe_bundle(source, "no certificate has a name as `openssl rehash` gives it")
            )
        else:
            context.load_verify_locations(capath=source)
    except ssl.SSLError:
        raise UsageError(_describe_bundle(source, "it holds no certificate, or a broken one")) from None
    except OSError as error:
        raise UsageError(_describe_bundle(source, error.strerror or "no such file can exist")) from error
    return context


def _describe_bundle(source: Path, why: str) -> str:
    return f"the CA bundle {source} cannot be used ({why}): name a PEM file in http.ca_bundle or REQUESTS_CA_BUNDLE"


def _read(response: Response, most: int, attempt: Attempt) -> tuple[bytes, str | None]:
    """The body, as far as it came, and what is wrong with it."""
    body = bytearray()
    try:
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > most:
                return b"", f"the answer is larger than {most // 2**20} MiB"
    except FAILURES as error:
        return bytes(body), judge_failure(error, attempt).text
    return bytes(body), attempt.cut  # a cut connection ends like an answer without a declared length
