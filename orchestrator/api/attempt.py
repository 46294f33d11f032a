"""One attempt at one exchange: its deadline, its first byte, its abort, and dialling within all three."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from urllib3.util.wait import wait_for_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.api.credentials import Authorization
    from orchestrator.core import Clock

    Addresses = Sequence[tuple[int, int, int, str, Any]]

_NEXT_ADDRESS = 5.0  # seconds for one address of a name while others are left to try

_LOOK = 1.0  # seconds between two looks at the boot clock, which also counts suspended time

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s: closing resets the connection and drops unsent bytes


class Stopped(Exception):
    """Raised inside a connection; no OSError, since urllib3 takes some of those for an early answer."""


class Attempt:
    """The state of one attempt, which the caller, the connection and the watchdog share.

    `sent` is set right before the first request byte: while it is False the server has no part of the
    request. `cut` says why the attempt was cut off, if it was; `refusal` is what `before_first_byte` raised.
    `introduced`: a proxy on the way gets a name and a password.
    `deadline` is in the boot clock's seconds. Without an `authorization` no credential is sent.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        deadline: float,
        authorization: Authorization | None = None,
        before_first_byte: Callable[[], None] | None = None,
    ) -> None:
        self.clock, self.deadline, self.authorization = clock, deadline, authorization
        self.sent = False
        self.cut: str | None = None
        self.refusal: BaseException | None = None
        self.peer = "the server"
        self.introduced = False
        self._total = deadline - clock.boot()
        self._before_first_byte = before_first_byte
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._addresses: SimpleQueue[Addresses | OSError] = SimpleQueue()

    def remaining(self) -> float:
        """Real seconds until the deadline; TimeoutError when there are none."""
        left = self.seconds_left()
        if left <= 0:
            raise TimeoutError
        return left

    def seconds_left(self) -> float:
        """Real seconds until the deadline, fewer than none after it."""
        return self.clock.real(self.deadline - self.clock.boot())

    def describe_lateness(self) -> str:
        """The words for a deadline that passes now: before the first byte nothing is connected, after it nothing answered."""
        seconds = f"{self._total:.0f}" if self._total >= 10 else f"{max(0.0, self._total):.2g}"
        if self.sent:
            return f"no answer within {seconds} s"
        return f"no connection to {self.peer} within {seconds} s"

    def hold(self, sock: socket.socket | None) -> None:
        """Take the connection whose end is the end of this attempt, or let go of it."""
        with self._lock:
            self._socket = sock
            if sock is not None and self.cut is not None:
                _reset(sock)

    def cut_off(self, why: str) -> None:
        """Abort what is on the wire, from any thread: the thread that waits there goes on at once."""
        with self._lock:
            self.cut = self.cut or why
            if self._socket is not None:
                _reset(self._socket)
        self._addresses.put(TimeoutError())

    def begin(self, sock: socket.socket, *, reused: bool) -> None:
        """Ask the caller once, right before the first byte, and set the flag; Stopped if it must not leave."""
        if self.sent:
            return
        self._ask()
        if reused and wait_for_read(sock, timeout=0.0):
            raise Stopped(f"{self.peer} had closed the idle connection")
        with self._lock:
            if self.cut is None and self.clock.boot() >= self.deadline:
                self.cut = self.describe_lateness()
            if self.cut is not None:
                raise Stopped(self.cut)
            self.sent = True

    def dial(self, host: str, port: int, options: list[Any]) -> socket.socket:
        """A connected socket to the first address of the host that takes it; OSError of the last one if none."""
        addresses = self._look_up(host, port)
        failure = OSError(f"{host} has no address")
        for left, (family, kind, protocol, _, address) in zip(
            range(len(addresses), 0, -1), addresses, strict=True
        ):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in options:
                    sock.setsockopt(*option)
                sock.settimeout(self._share(left))
                sock.connect(address)
                sock.settimeout(self.remaining())
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _ask(self) -> None:
        if self._before_first_byte is None:
            return
        try:
            self._before_first_byte()
        except BaseException as refusal:  # noqa: BLE001 - urllib3 would swallow some; the caller gets it back
            self.refusal = refusal
        if self.refusal is not None:
            raise Stopped("the request was held back")

    def _share(self, left: int) -> float:
        """Real seconds for one of the addresses that are left to try; the last one may take all there are."""
        return self.remaining() if left == 1 else min(self.remaining() / left, self.clock.real(_NEXT_ADDRESS))

    def _look_up(self, host: str, port: int) -> Addresses:
        """The host's addresses; a name is looked up in a thread of its own, as nothing can stop that."""
        with suppress(socket.gaierror, UnicodeError):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        arguments = (host, port, self._addresses.put)
        threading.Thread(target=_look_up, args=arguments, daemon=True).start()
        try:
            found = self._addresses.get(timeout=self.remaining())
        except Empty:
            raise TimeoutError from None
        if isinstance(found, OSError):
            raise found
        return found


CURRENT: ContextVar[Attempt] = ContextVar("attempt")
"""The attempt that this thread makes."""


class Watchdog:
    """Cuts attempts off at their deadline: one thread for all, which lives while attempts are under way.

    It looks once a second, and is woken only for an attempt that ends sooner.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._attempts: dict[Attempt, object] = {}
        self._running = False

    @contextmanager
    def watch(self, attempt: Attempt, sender: object) -> Iterator[None]:
        """Make this attempt the thread's current one, and cut it off if it is still made at its deadline."""
        current = CURRENT.set(attempt)
        with self._changed:
            self._attempts[attempt] = sender
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="tesnap-watchdog", daemon=True).start()
            elif attempt.seconds_left() < _LOOK:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._attempts.pop(attempt, None)
            CURRENT.reset(current)

    def cut_all(self, sender: object, why: str) -> None:
        """Cut off everything of this sender that is under way."""
        with self._changed:
            attempts = [attempt for attempt, its in self._attempts.items() if its is sender]
        for attempt in attempts:
            attempt.cut_off(why)

    def _run(self) -> None:
        with self._changed:
            while self._attempts:
                for attempt in [one for one in self._attempts if one.seconds_left() <= 0]:
                    attempt.cut_off(attempt.describe_lateness())
                    del self._attempts[attempt]
                self._changed.wait(self._pause())
            self._running = False

    def _pause(self) -> float:
        """Real seconds to the next look: suspended time passes on the boot clock alone."""
        nearest = min((attempt.seconds_left() for attempt in self._attempts), default=0.0)
        return max(0.001, min(_LOOK, nearest))


WATCHDOG = Watchdog()
"""The one that watches every attempt of this process."""


def _look_up(host: str, port: int, tell: Callable[[Addresses | OSError], None]) -> None:
    try:
        tell(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        tell(error)
    except UnicodeError:  # a label that is empty or longer than 63
        tell(socket.gaierror(socket.EAI_NONAME, "not a name"))


def _reset(sock: socket.socket) -> None:
    """End the connection under whatever reads or writes it; with a reset as soon as its owner closes it."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
