"""A relay between a driver and a real PostgreSQL server: it counts round trips, and can delay or lose them.

A round trip is what the client sends before it waits: messages up to a Sync, a Flush or a simple Query.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.wire import LOOPBACK

VERSION = b"\x00\x03"
"""The major version of the protocol, in the first message that is no question about encryption."""

ENDS = b"SHQ"
"""The types of messages after which a client waits: Sync, Flush, Query."""

AT_ONCE = b"Xp"
"""The types of messages that stand alone: Terminate, and the answers to questions for a password."""

READY = b"Z\x00\x00\x00\x05"
"""The beginning of the server's word that it has carried out everything (ReadyForQuery)."""


class Relay:
    """Listens on loopback for the server behind a URL; `url` is the same one by way of this relay.

    `trips` is how many round trips there were; `delay` the seconds that each way takes longer.
    """

    def __init__(self, url: str, *, delay: float = 0.0) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or LOOPBACK, parts.port or 5432)
        self._listener = socket.create_server((LOOPBACK, 0))
        place = f"{parts.username}@{LOOPBACK}:{self._listener.getsockname()[1]}"
        self.url = urlunsplit((parts.scheme, place, parts.path, "sslmode=disable", ""))
        self.trips, self._delay = 0, delay
        self._broken_at, self._carried_out = 0, False
        self._sockets: list[socket.socket] = []
        self._count = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End all connections, without a word to either side."""
        for one in self._sockets:
            _shut(one)

    def break_at(self, trip: int, *, carried_out: bool) -> None:
        """Cut the connection at this round trip, counted from now: with `carried_out` only its answer is lost."""
        self._broken_at, self._carried_out = self.trips + trip, carried_out

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [client, server]
                for way in (self._ask, self._answer):
                    threading.Thread(target=way, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            for trip, counts in _trips(client):
                if counts:
                    with self._count:
                        self.trips += 1
                    if self.trips == self._broken_at and not self._carried_out:
                        break
                time.sleep(self._delay)
                server.sendall(trip)
        _shut(client)
        _shut(server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if self._carried_out and self.trips == self._broken_at:
                    if READY in data:
                        self._broken_at = 0
                        break
                    continue
                time.sleep(self._delay)
                client.sendall(data)
        _shut(client)
        _shut(server)


def _trips(client: socket.socket) -> Iterator[tuple[bytes, bool]]:
    """What the client sends, up to each point where it waits; True if that is a round trip of its own."""
    waiting = b""
    for kind, message in _messages(client):
        waiting += message
        if kind in ENDS + AT_ONCE:
            yield waiting, kind in ENDS
            waiting = b""


def _messages(client: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """The client's messages with their types; those before its session is begun have the type of an answer."""
    begun, rest = False, b""
    while data := client.recv(65536):
        rest += data
        while (length := _length(rest, begun=begun)) is not None and len(rest) >= length:
            message, rest = rest[:length], rest[length:]
            yield (message[:1] if begun else b"p"), message
            begun = begun or message[4:6] == VERSION


def _length(rest: bytes, *, begun: bool) -> int | None:
    """The length of the first message, None while too little of it is there."""
    head = 5 if begun else 4
    return int.from_bytes(rest[begun:head]) + begun if len(rest) >= head else None


def _shut(one: socket.socket) -> None:
    """End both ways of a connection, so that whoever reads of it goes on."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
