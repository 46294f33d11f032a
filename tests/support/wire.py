"""Real servers on loopback that follow a script for each connection, and certificates for them.

A script is a function of a `Peer`; when it returns, what the client still sends is read and the connection
is closed. A server notes every byte it got and every request that reached it whole.
"""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"
ELSEWHERE = "2001:db8::1"
"""An address for documentation (RFC 3849): of nobody, unless a test gives it to itself."""

PATIENCE = 120.0
"""Seconds of real time after which a server gives up, so that a broken test ends."""

_RESET = struct.pack("ii", 1, 0)


class Peer:
    """The client at the other end of one connection."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self.sock, self.server = sock, server
        self._rest = b""

    def request(self) -> bytes:
        """Read one whole request and note it; empty when the client went away before."""
        head = self.head()
        length = next((int(value) for name, value in _fields(head) if name == b"content-length"), 0)
        while head and len(self._rest) < length:
            more = self._more()
            if not more:
                return b""
            self._rest += more
        body, self._rest = self._rest[:length], self._rest[length:]
        if head:
            self.server.requests.append(head + body)
        return head + body

    def head(self) -> bytes:
        """Read up to the empty line that ends a head; empty when the client went away before."""
        while b"\r\n\r\n" not in self._rest:
            more = self._more()
            if not more:
                return b""
            self._rest += more
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def some(self, count: int) -> bytes:
        """Read a few bytes."""
        data = self.sock.recv(count)
        self.server.seen += data
        return data

    def say(self, *parts: bytes) -> None:
        """Send these bytes, if the client is still there."""
        with suppress(OSError):
            self.sock.sendall(b"".join(parts))

    def drip(self, data: bytes, *, every: float) -> None:
        """Send one byte at a time, so that no read ever waits long."""
        for position in range(len(data)):
            self.say(data[position : position + 1])
            if self.server.stopping.wait(every):
                return

    def hang(self) -> None:
        """Say nothing until the client goes away or the test ends."""
        with suppress(OSError):
            while not self.server.stopping.is_set() and self._more():
                pass

    def reset(self) -> None:
        """End the connection with a reset instead of an orderly close."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on."""
        self.sock = context.wrap_socket(self.sock, server_side=True)

    def finish(self) -> None:
        """Close in an orderly way, reading what is left."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(0.2)
            while self.head():
                self._rest = b""
        self.sock.close()

    def _more(self) -> bytes:
        data = self.sock.recv(65536)
        self.server.seen += data
        return data


Script = Callable[[Peer], None]


class Server:
    """A server on loopback; each connection plays the next script, the last one again and again."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, host: str = LOOPBACK) -> None:
        self.scripts, self.tls, self.host = scripts, tls, host
        self.seen = bytearray()
        self.requests: list[bytes] = []
        self.connections = 0
        self._peers: list[Peer] = []
        self.stopping = threading.Event()
        self._listener = socket.create_server((host, 0), family=_family(host))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """The base URL of an API here."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/v7"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(sock, script), daemon=True))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket, script: Script) -> None:
        sock.settimeout(PATIENCE)
        peer = Peer(sock, self)
        self._peers.append(peer)
        with suppress(OSError):  # clients that go away are what these tests are about
            if self.tls:
                peer.secure(self.tls)
            script(peer)
            peer.finish()
        peer.sock.close()

    def close(self) -> None:
        """Stop listening and wait for what is being served."""
        self.stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            with suppress(
                OSError
            ):  # what has arrived can still be read; the base class, as TLS's own forgets TLS
                socket.socket.shutdown(peer.sock, socket.SHUT_RD)
        for thread in self._threads:
            thread.join(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answer(status: str, body: bytes = b"", *fields: str) -> bytes:
    """A whole answer with its length."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields)
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def always(reply: bytes) -> Script:
    """The same answer for every request on the connection."""

    def script(peer: Peer) -> None:
        while peer.request():
            peer.say(reply)

    return script


def closed_port(host: str = LOOPBACK) -> int:
    """A port of loopback at which nobody listens."""
    with socket.create_server((host, 0), family=_family(host)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port of loopback that neither takes nor refuses connections: its queue is full."""
    listener = socket.socket()
    listener.bind((LOOPBACK, 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    try:
        yield listener.getsockname()[1]
    finally:
        for sock in (*fillers, listener):
            sock.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A CA of the tests' own, and servers' settings with good and bad certificates."""

    ca: str
    good: ssl.SSLContext
    expired: ssl.SSLContext
    misnamed: ssl.SSLContext
    self_signed: ssl.SSLContext


def make_certificates(folder: Path) -> Certificates:
    """New certificates, made with the openssl command."""
    ca = "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"
    _openssl(
        folder, "req", "-x509", *_new_key("ca"), "-out", "ca.pem", "-subj", "/CN=Test CA", *_extensions(*ca)
    )
    here = f"subjectAltName=IP:{LOOPBACK},IP:::1,IP:{ELSEWHERE},DNS:api.invalid"
    _openssl(
        folder, "req", "-x509", *_new_key("self"), "-out", "self.pem", "-subj", "/CN=self", *_extensions(here)
    )
    return Certificates(
        ca=str(folder / "ca.pem"),
        good=_signed(folder, "good", here),
        expired=_signed(folder, "expired", here, days="0"),
        misnamed=_signed(folder, "misnamed", "subjectAltName=DNS:elsewhere.example"),
        self_signed=_server_side(folder, "self"),
    )


def _signed(folder: Path, name: str, names: str, *, days: str = "30") -> ssl.SSLContext:
    (folder / f"{name}.ext").write_text(f"{names}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
    _openssl(folder, "req", *_new_key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}")
    signing = (
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-set_serial",
        str(abs(hash(name)) % 10**6 + 1),
        "-days",
        days,
    )
    files = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext")
    _openssl(folder, "x509", "-req", *signing, *files)
    return _server_side(folder, name)


def _server_side(folder: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def _new_key(name: str) -> tuple[str, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"


def _extensions(*lines: str) -> tuple[str, ...]:
    return tuple(part for line in lines for part in ("-addext", line))


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S607 - wherever it is installed


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            yield name.strip().lower(), value.strip()
