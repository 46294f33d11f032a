"""Connections of which one knows whether the first request byte has left, and which can be cut at any time.

Exception classes do not tell whether a request went out: the same ones occur on both sides of the first
byte. So a connection asks its `Attempt` right before that byte, and the attempt keeps the answer. Nothing
here sends twice: there is no retry, no redirect and no quiet reconnecting.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.wait import wait_for_read

from orchestrator.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from urllib3 import HTTPResponse
    from urllib3._base_connection import BaseHTTPConnection

    from orchestrator.clock import Clock

IDLE = 10.0
"""Seconds after which an idle connection is not used again: balancers drop such ones silently."""

CONNECTIONS = 5
"""Connections kept open per organization: as many as it has tokens."""

CREDENTIAL_MARK = "<credential>"
"""What stands for the credential in every value that urllib3 and requests get to see."""

_NEXT_ADDRESS = 5.0  # seconds for one address of a name while others are left to try
_WATCH = 1.0  # seconds between two looks at the boot clock, which also counts suspended time
_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: closing resets the connection and drops unsent bytes
_LINE = f"\r\nAuthorization: {CREDENTIAL_MARK}\r\n".encode()  # cannot stand in a JSON body: CR and LF
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_SHORTEST_MASKED = 8  # masking every occurrence of a shorter text would tear answers apart

logging.getLogger("urllib3.connection").addFilter(
    lambda _: False
)  # it quotes what servers send, word for word

_Addresses = Sequence[tuple[int, int, int, str, Any]]


class Stopped(Exception):
    """Raised inside a connection; no OSError, since urllib3 takes some of those for an early answer."""


class Seal:
    """The credential of one attempt: it enters a request as its bytes leave, and answers never keep it."""

    __slots__ = ("_bearer",)

    def __init__(self, bearer: Callable[[], str]) -> None:
        self._bearer = bearer().strip()  # never a local variable: tracebacks show those
        if not _SENDABLE.fullmatch(self._bearer):
            raise CredentialError(
                "the API token is empty or has spaces, line breaks or other characters that a header cannot "
                "hold: write it anew, alone on one line"
            )

    def put(self, data: bytes) -> bytes:
        """The bytes to send, with the credential in its place."""
        return data.replace(_LINE, f"\r\nAuthorization: Bearer {self._bearer}\r\n".encode(), 1)

    def mask(self, data: bytes) -> bytes:
        """The bytes that came, without the credential that some servers echo."""
        if len(self._bearer) < _SHORTEST_MASKED:
            return data
        return data.replace(self._bearer.encode(), b"***")


class Attempt:
    """What the caller, the connection and the watchdog know of one attempt.

    `sent` is set right before the first request byte: while it is False the server has no part of the
    request. `cut` says why the attempt was cut off, if it was.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        deadline: float,
        seal: Seal,
        before_first_byte: Callable[[], None] | None = None,
    ) -> None:
        self.clock, self.deadline, self.seal = clock, deadline, seal
        self.total = deadline - clock.boot()
        self.sent = False
        self.cut: str | None = None
        self.refusal: BaseException | None = None
        self.peer = "the server"
        self._before_first_byte = before_first_byte
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._woken: SimpleQueue[_Addresses | OSError] = SimpleQueue()

    def remaining(self) -> float:
        """Real seconds until the deadline; TimeoutError when there are none."""
        left = self.deadline - self.clock.boot()
        if left <= 0:
            raise TimeoutError
        return self.clock.real(left)

    def late(self) -> str:
        """What passing the deadline means at this point."""
        seconds = f"{self.total:.0f}" if self.total >= 10 else f"{max(0.0, self.total):.2g}"
        return (
            f"no answer within {seconds} s"
            if self.sent
            else f"no connection to {self.peer} within {seconds} s"
        )

    def hold(self, line: socket.socket | None) -> None:
        """Take the connection whose end is the end of this attempt, or let go of it."""
        with self._lock:
            self._line = line
            if line is not None and self.cut is not None:
                _abort(line)

    def cut_off(self, why: str) -> None:
        """Abort what is on the wire, from any thread: the thread that waits there goes on at once."""
        with self._lock:
            self.cut = self.cut or why
            if self._line is not None:
                _abort(self._line)
        self._woken.put(TimeoutError())

    def begin(self, sock: socket.socket, *, reused: bool) -> None:
        """Ask the caller once, right before the first byte, and set the flag; Stopped if it must not leave."""
        if self.sent:
            return
        self._ask()
        if reused and wait_for_read(sock, timeout=0.0):
            raise Stopped(f"{self.peer} had closed the idle connection")
        with self._lock:
            if self.cut is None and self.clock.boot() >= self.deadline:
                self.cut = self.late()
            if self.cut is not None:
                raise Stopped(self.cut)
            self.sent = True

    def _ask(self) -> None:
        if self._before_first_byte is None:
            return
        try:
            self._before_first_byte()
        except BaseException as refusal:  # noqa: BLE001 - urllib3 would swallow some; the caller gets it back
            self.refusal = refusal
        if self.refusal is not None:
            raise Stopped("the request was held back")

    def dial(self, host: str, port: int, options: list[Any]) -> socket.socket:
        """A connected socket to the first address of the host that takes it; OSError of the last one if none."""
        addresses = self._addresses(host, port)
        failure = OSError(f"{host} has no address")
        for left, (family, kind, protocol, _, address) in zip(
            range(len(addresses), 0, -1), addresses, strict=True
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                _connect(sock, address, options, self.remaining() if left == 1 else self._share(left))
                sock.settimeout(self.remaining())
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _share(self, left: int) -> float:
        return min(self.remaining() / left, self.clock.real(_NEXT_ADDRESS))

    def _addresses(self, host: str, port: int) -> _Addresses:
        """The host's addresses; a name is looked up in a thread of its own, as nothing can stop that."""
        with suppress(socket.gaierror, UnicodeError):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        threading.Thread(target=_look_up, args=(host, port, self._woken.put), daemon=True).start()
        try:
            found = self._woken.get(timeout=self.remaining())
        except Empty:
            raise TimeoutError from None
        if isinstance(found, OSError):
            raise found
        return found


def _look_up(host: str, port: int, tell: Callable[[_Addresses | OSError], None]) -> None:
    try:
        tell(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        tell(error)
    except UnicodeError:  # a label that is empty or longer than 63
        tell(socket.gaierror(socket.EAI_NONAME, "not a name"))


def _connect(sock: socket.socket, address: Any, options: list[Any], seconds: float) -> None:
    for option in options:
        sock.setsockopt(*option)
    sock.settimeout(seconds)
    sock.connect(address)


def _abort(line: socket.socket) -> None:
    """End the connection under whatever reads or writes it; with a reset as soon as its owner closes it."""
    with suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


CURRENT: ContextVar[Attempt] = ContextVar("attempt")
"""The attempt that this thread makes."""


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
        attempt.peer = f"{'the proxy ' if self.proxy else ''}{self.host}:{self.port}"
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
        proxy = f"{self.host}:{self.port}"
        self._attempt().peer = f"{self._tunnel_host}:{self._tunnel_port} (through the proxy {proxy})"

    def _new_conn(self) -> socket.socket:
        attempt = self._attempt()
        sock = attempt.dial(self._dns_host, self.port, list(self.socket_options or ()))
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
            self.sock.sendall(attempt.seal.put(data))
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


class _Pool(HTTPConnectionPool):
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


class _TlsPool(_Pool, HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class Adapter(HTTPAdapter):
    """requests' transport over these connections: one TLS context, no retries.

    It is used without a `Session`: redirects, cookies, netrc and the environment all live there.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=CONNECTIONS, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **more)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        contexts = {"ssl_context": self._context, "proxy_ssl_context": self._context}
        found = super().proxy_manager_for(proxy, **contexts, **more)
        found.pool_classes_by_scheme = _POOLS
        return found

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool alone: certificates are checked by the context, always."""


class Watchdog:
    """Cuts attempts off at their deadline: one thread, which lives while attempts are under way."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._attempts: set[Attempt] = set()
        self._running = False

    def watch(self, attempt: Attempt) -> None:
        """Cut this attempt off at its deadline unless it is released before."""
        with self._changed:
            self._attempts.add(attempt)
            self._changed.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="tesnap-watchdog", daemon=True).start()

    def release(self, attempt: Attempt) -> None:
        """Watch this attempt no longer."""
        with self._changed:
            self._attempts.discard(attempt)
            self._changed.notify()

    def cut_all(self, why: str) -> None:
        """Cut off everything that is under way."""
        with self._changed:
            attempts = tuple(self._attempts)
        for attempt in attempts:
            attempt.cut_off(why)

    def _run(self) -> None:
        with self._changed:
            while self._attempts:
                now = self._clock.boot()
                for attempt in tuple(self._attempts):
                    if attempt.deadline <= now:
                        attempt.cut_off(attempt.late())
                        self._attempts.discard(attempt)
                self._changed.wait(self._pause(now))
            self._running = False

    def _pause(self, now: float) -> float:
        """Real seconds to the next look: suspended time passes on the boot clock alone."""
        nearest = min((attempt.deadline for attempt in self._attempts), default=now)
        return max(0.001, min(_WATCH, self._clock.real(nearest - now)))


@lru_cache(maxsize=8)
def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """The TLS settings of all connections that trust this bundle (None: the one requests ships with)."""
    source = Path(ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    try:
        if source.is_dir():
            context.load_verify_locations(capath=source)
        else:
            context.load_verify_locations(cafile=source)
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(
            f"the CA bundle {source} cannot be read ({error.strerror or error}): name a PEM file in "
            "http.ca_bundle or REQUESTS_CA_BUNDLE"
        ) from error
    return context
