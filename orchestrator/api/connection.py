"""Connections of which one knows whether the first request byte has left, and which can be cut at any time.

Exception classes do not tell whether a request went out: the same ones occur on both sides of the first
byte. So a connection asks its `Attempt` right before that byte, and the attempt keeps the answer. Nothing
here sends twice: there is no retry, no redirect and no quiet reconnecting.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from orchestrator.api.attempt import CURRENT, Attempt, Stopped

if TYPE_CHECKING:
    import socket

    from urllib3 import HTTPResponse
    from urllib3._base_connection import BaseHTTPConnection

IDLE = 10.0
"""Seconds after which an idle connection is not used again: balancers drop such ones silently."""

# urllib3 quotes there what servers send, word for word: an echoed credential too.
logging.getLogger("urllib3.connection").addFilter(lambda _: False)


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
