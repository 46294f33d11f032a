"""TODO."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from urllib3.util.wait import wait_for_read

from orchestrator.core import CredentialError

if TYPE_CHECKING:
    from orchestrator.core import Clock


IDLE = 10.0
"""Seconds after which an idle connection is not used again: balancers drop such ones silently."""

CREDENTIAL_MARK = "<credential>"
"""What stands for the credential in every value that urllib3 and requests get to see."""

_NEXT_ADDRESS = 5.0  # seconds for one address of a name while others are left to try

_WATCH = 1.0  # seconds between two looks at the boot clock, which also counts suspended time

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: closing resets the connection and drops unsent bytes

_LINE = f"\r\nAuthorization: {CREDENTIAL_MARK}\r\n".encode()  # cannot stand in a JSON body: CR and LF

_SENDABLE = re.compile(r"[\x21-\x7e]+")

_SHORTEST_MASKED = 8  # masking every occurrence of a shorter text would tear answers apart

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
