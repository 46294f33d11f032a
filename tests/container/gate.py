"""A gate before the API, on loopback, that keeps a request where a test wants to meet it."""

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


QUEUE = 128
"""Connections that wait to be accepted: more than a run opens at once."""


class Mode(Enum):
    """How the gate treats requests."""

    PASS = "hands them on, and their answers"
    SLOW_LISTS = "answers a GET late"
    SLOW = "answers a POST after some seconds"
    DEAF = "answers the first POST with 503 and then takes no connection"
    MUTE = "hands a POST on and keeps the answer"
    CUT = "hands a POST on and cuts the connection"


DELAY = 3.0
"""Seconds by which an answer to a POST is late: it comes while a run that was told to stop waits for it."""

LATE = 60.0
"""Seconds by which a list is late: whoever tells a run to stop comes before it, and it comes before the run's own deadline."""


class Gate:
    """A listener that passes each request on to an API over a connection of its own."""

    def __init__(self, api: str, mode: Mode) -> None:
        parts = urlsplit(api)
        self._api, self._path = (str(parts.hostname), int(parts.port or 80)), parts.path
        self.mode = mode
        self.met = threading.Event()  # a POST has come
        self._opened = threading.Event()
        self._fillers: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=QUEUE)
        self._accepting = self._accept()

    @property
    def url(self) -> str:
        """The base URL of the API behind it."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}{self._path}"

    def open(self) -> None:
        """Pass everything on from now on; what was kept is dropped."""
        fillers, self._fillers, self.mode = self._fillers, [], Mode.PASS
        self._opened.set()
        for filler in fillers:
            filler.close()
        if not self._accepting.is_alive():
            self._listener.listen(QUEUE)
            self._accepting = self._accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> threading.Thread:
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        return thread

    def _serve(self) -> None:
        while not self._fillers:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head, body = _read_message(client)
            mode = self.mode
            if head.startswith(b"POST"):
                self.met.set()
                self._pass_post(client, mode, head, body)
            elif head:
                if mode is Mode.SLOW_LISTS:
                    self._opened.wait(LATE)
                client.sendall(self._ask(head, body))

    def _pass_post(self, client: socket.socket, mode: Mode, head: bytes, body: bytes) -> None:
        if mode is Mode.DEAF:
            self._stop_accepting()
            client.sendall(UNAVAILABLE)
            return
        answer = self._ask(head, body)
        if mode is Mode.MUTE:
            client.recv(1)  # until the client goes away
        elif mode is not Mode.CUT:
            if mode is Mode.SLOW:
                self._opened.wait(DELAY)
            client.sendall(answer)

    def _stop_accepting(self) -> None:
        self._fill()  # wakes the thread that accepts: as it sleeps, it would take one filler more, and leave its place free
        self._accepting.join()
        self._listener.listen(0)
        for _ in range(FILLERS):
            self._fill()

    def _fill(self) -> None:
        filler = socket.socket()
        filler.setblocking(False)
        self._fillers.append(filler)
        filler.connect_ex(self._listener.getsockname())

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
