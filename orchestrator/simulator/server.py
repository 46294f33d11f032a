"""The simulator over HTTP/1.1 on loopback, with every fault as bytes on the wire (or none)."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Iterator
from http.client import responses
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from orchestrator.simulator.api import Exchange, Simulator
from orchestrator.simulator.messages import PREFIX, Reply, Request, problem

_CUT_HEAD = b"HTTP/1.1 201 Crea"
_MOST_BODY = 1_000_000  # bytes; a valid request has less than a thousand


class ServerClock(Protocol):
    """The time that the server needs, in seconds."""

    def wall(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Let this much time pass."""


class PacedClock:
    """Real time since `epoch` (default: now), `speed` times as fast."""

    def __init__(self, speed: float = 1.0, epoch: float | None = None) -> None:
        self._speed, self._epoch = speed, time.time() if epoch is None else epoch
        self._ahead = time.time() - time.monotonic()

    def wall(self) -> float:
        return self._epoch + (time.monotonic() + self._ahead - self._epoch) * self._speed

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds) / self._speed)


@contextlib.contextmanager
def serve(
    simulator: Simulator, *, clock: ServerClock | None = None, port: int = 0, hang: float = 30.0
) -> Iterator[str]:
    """Serve on 127.0.0.1 and yield the base URL, `/v7` included; port 0 is any free one.

    `hang` bounds, in seconds of the clock, how long an answer hangs or drips before the connection closes.
    """
    server = _Server(("127.0.0.1", port), _ClientConnection, bind_and_activate=True)
    server.simulator, server.clock, server.hang = simulator, clock or PacedClock(), hang
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{PREFIX}"
    finally:
        server.stop()
        thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False  # a hanging answer must not keep the server from stopping
    request_queue_size = 128
    simulator: Simulator
    clock: ServerClock
    hang: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        super().__init__(*args, **kwargs)

    def stop(self) -> None:
        """Take no more connections and close those that are open."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a fault of the simulator."""
        if self.stopping.is_set():
            return
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _ClientConnection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer in two parts would cost 40 ms
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """The simulator keeps its own log."""

    def _answer(self) -> None:
        request = self._read_request()
        if request is None:
            return
        simulator, clock = self.server.simulator, self.server.clock
        exchange = simulator.accept(request, clock.wall())
        self._sleep_until(exchange.process_at)
        if self.server.stopping.is_set():
            return
        reply = simulator.process(exchange, clock.wall())
        self._sleep_until(exchange.answer_at)
        self._send(exchange, reply)

    def __getattr__(self, name: str) -> Any:
        """The handler of any method: the origin knows which it answers with 405."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request that the origin can hear, with a status and a body that the API documents."""
        self.close_connection = True
        detail = explain or message or responses.get(code, "The request cannot be read")
        reply = problem(400, detail).with_headers({"Connection": "close"})
        self.wfile.write(_head(reply) + (b"" if self.command == "HEAD" else reply.body))

    def _sleep_until(self, moment: float) -> None:
        self.server.clock.sleep(max(0.0, moment - self.server.clock.wall()))

    def _read_request(self) -> Request | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length) > _MOST_BODY:
            self.send_error(400, f"The body must have a Content-Length of at most {_MOST_BODY} bytes")
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # the client went away: the origin never had a whole request
            self.close_connection = True
            return None
        url = urlsplit(self.path)
        query, headers = dict(parse_qsl(url.query, keep_blank_values=True)), dict(self.headers.items())
        return Request(method=self.command, path=url.path, query=query, headers=headers, body=body)

    def _send(self, exchange: Exchange, reply: Reply | None) -> None:
        kind = exchange.fault.kind if exchange.fault else None
        if reply is None:
            self._send_nothing(hangs=kind == "hang")
            return
        head, body = _head(reply), b"" if self.command == "HEAD" else reply.body
        self.close_connection |= kind in {"cut-head", "cut-body", "drip"}
        if kind == "drip":
            self._drip(head + body)
        elif kind == "cut-head":
            self.connection.sendall(_CUT_HEAD)
        else:
            self.connection.sendall(head + (body[: len(body) // 2] if kind == "cut-body" else body))

    def _send_nothing(self, *, hangs: bool) -> None:
        self.close_connection = True
        if hangs:
            end = self.server.clock.wall() + self.server.hang
            while self.server.clock.wall() < end and not self.server.stopping.is_set():
                self.server.clock.sleep(1.0)
        self._reset()

    def _drip(self, message: bytes) -> None:
        """One byte a second until the bound, then nothing more."""
        for byte in message[: max(1, int(self.server.hang))]:
            if self.server.stopping.is_set():
                return
            self.connection.sendall(bytes([byte]))
            self.server.clock.sleep(1.0)

    def _reset(self) -> None:
        """Close so that the client sees a reset and not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()  # it holds the socket open
        self.server.connections.discard(self.connection)
        self.connection.close()


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, '')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines += [f"Content-Length: {len(reply.body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1")
