"""A gate before the API, on loopback, that keeps a request where a test wants to meet it: not connected, or not answered."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from enum import Enum
from typing import Self
from urllib.parse import urlsplit

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
FILLERS = 4
"""Connections that fill the queue of a listener that accepts no more."""


class Mode(Enum):
    """How the gate treats a POST."""

    PASS = "hands it on, and its answer"
    DEAF = "answers the first one with 503 and then takes no connection"
    MUTE = "hands it on and keeps the answer"


class Gate:
    """A listener that passes each request on to an API over a connection of its own."""

    def __init__(self, api: str, mode: Mode) -> None:
        parts = urlsplit(api)
        self._api, self._path = (str(parts.hostname), int(parts.port or 80)), parts.path
        self.mode = mode
        self.met = threading.Event()  # a POST has come, and was kept
        self._fillers: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._accept()

    @property
    def url(self) -> str:
        """The base URL of the API behind it."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}{self._path}"

    def open(self) -> None:
        """Pass everything on from now on; what was kept is dropped."""
        was_deaf, self.mode = self.mode is Mode.DEAF, Mode.PASS
        for filler in self._fillers:
            filler.close()
        if was_deaf:
            self._accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._fillers or self.mode is Mode.PASS:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head, body = _read_message(client)
            is_post = head.startswith(b"POST")
            if is_post and self.mode is Mode.DEAF:
                self._stop_accepting()
                client.sendall(UNAVAILABLE)
                self.met.set()
            elif head:
                answer = self._ask(head, body)
                if is_post and self.mode is Mode.MUTE:
                    self.met.set()
                    client.recv(1)  # until the client goes away
                else:
                    client.sendall(answer)

    def _stop_accepting(self) -> None:
        for _ in range(FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())
            self._fillers.append(filler)

    def _ask(self, head: bytes, body: bytes) -> bytes:
        """The API's whole answer, which ends with its connection."""
        with socket.create_connection(self._api) as api:
            api.sendall(_closing(head) + body)
            answer = b""
            while more := api.recv(65536):
                answer += more
        whole, _, rest = answer.partition(b"\r\n\r\n")
        return _closing(whole + b"\r\n\r\n") + rest


def _read_message(sock: socket.socket) -> tuple[bytes, bytes]:
    """A request's head and body; empty when the client went away before."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return b"", b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    while len(body) < _length(head):
        body += sock.recv(65536)
    return head + b"\r\n\r\n", body


def _length(head: bytes) -> int:
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)


def _closing(head: bytes) -> bytes:
    """The head with `Connection: close` instead of whatever it says of the connection."""
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])
