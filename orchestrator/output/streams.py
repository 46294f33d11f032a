"""Lines of text that go to a stream whole, whoever else writes there; and standard streams that keep nobody waiting."""

from __future__ import annotations

import errno
import io
import os
import queue
import select
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from orchestrator.core import leaving_text, mask_secrets

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOOK = 0.2
"""Real seconds between two looks whether the program is to end."""

LAST_LOOKS = 10
"""Looks for which an ending program waits for whoever reads a stream: 2 s, so that two streams and 20 s for what is on
the wire are over before Kubernetes kills."""

NARROWEST = 40
"""Columns below which a terminal breaks lines as it likes: there is no room for words."""


def terminal_room(stream: TextIO) -> int | None:
    """The columns of the terminal behind a stream; None where it is none, and lines may be as long as they are."""
    try:
        return (
            max(NARROWEST, os.get_terminal_size(stream.fileno()).columns or 80) if stream.isatty() else None
        )
    except (OSError, ValueError):
        return None


class CleanText(io.TextIOWrapper):
    """A standard stream as the whole program has it: whoever prints, secrets are masked and no terminal obeys the text."""

    def write(self, text: str, /) -> int:
        """Write the text as it may leave; returns the number of its characters."""
        super().write(leaving_text(text))
        return len(text)


class Lines:
    """A text stream to which each line goes whole, at once and in one write, secrets masked.

    Nothing in it is obeyed by a terminal, unless it is `drawn`: then escape sequences are this program's own.

    So the lines of several processes that append to one file stay whole, and nothing is left in a buffer
    that a closed pipe would make fail at exit. OSError when the stream is gone.
    """

    def __init__(self, stream: TextIO, *, drawn: bool = False) -> None:
        self._stream, self._leaving = stream, mask_secrets if drawn else leaving_text
        self._raw = getattr(getattr(stream, "buffer", None), "raw", None)

    def write(self, text: str) -> int:
        """Write text that ends a line; returns the number of its characters."""
        length, text = len(text), self._leaving(text)
        if self._raw is None:
            self._stream.write(text)
            self._stream.flush()
            return length
        self._stream.flush()
        rest = memoryview(text.encode(self.encoding, "backslashreplace"))
        while rest:
            rest = rest[self._raw.write(rest) :]
        return length

    @property
    def encoding(self) -> str:
        """The stream's encoding; what it lacks is written as Python escapes it."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """True if somebody looks at it."""
        return self._stream.isatty()

    def flush(self) -> None:
        """Nothing to do: `write` keeps nothing back."""


@dataclass(slots=True)
class _Piece:
    """Bytes on their way, and what became of them."""

    data: bytes
    done: threading.Event = field(default_factory=threading.Event)
    error: OSError | None = None


class Outlet(io.RawIOBase):
    """A standard stream: a reader who stopped reading cannot keep the program from ending.

    A file, and a pipe with room for all of it, are written at once. Anything else is written by a thread of its own,
    for which a write waits as long as the reader does, until `is_ending` says that the program is to end: then the
    reader has some seconds more, and from then on the stream is gone. Writing to one that is gone is an OSError; with
    `unfailing` it is nothing, since there is nobody left to tell.
    """

    def __init__(self, number: int, is_ending: Callable[[], bool], *, unfailing: bool = False) -> None:
        super().__init__()
        self._number, self._is_ending, self._unfailing = number, is_ending, unfailing
        mode = os.fstat(number).st_mode
        self._is_file = stat.S_ISREG(mode)
        self._tries_pipe = stat.S_ISFIFO(mode) and hasattr(os, "RWF_NOWAIT")
        self._turn = threading.RLock()  # a signal's receiver may write while something is written
        self._pieces: queue.SimpleQueue[_Piece] = queue.SimpleQueue()
        self._unwritten = 0
        self._writer: threading.Thread | None = None
        self._stalled = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it; returns the number of its bytes."""
        whole = bytes(data)
        try:
            if not self._write_at_once(whole):
                self._have_written(_Piece(whole))
        except OSError:
            if not self._unfailing:
                raise
        return len(whole)

    def discard(self) -> None:
        """Drop from now on what is written, without an error."""
        self._stalled = self._unfailing = True

    def fileno(self) -> int:
        """The number of the stream."""
        return self._number

    def isatty(self) -> bool:
        """True if it is a terminal."""
        return os.isatty(self._number)

    def writable(self) -> bool:
        """True, always."""
        return True

    def _write_at_once(self, data: bytes) -> bool:
        """Write all of it without waiting for a reader; False where that cannot be, or what came before is not written."""
        with self._turn:
            if self._unwritten or self._stalled:
                return False
            if self._is_file:
                self._write_whole(memoryview(data))
                return True
            return self._tries_pipe and len(data) <= select.PIPE_BUF and self._write_into_pipe(data)

    def _write_into_pipe(self, data: bytes) -> bool:
        """Write it as a whole, as POSIX promises up to PIPE_BUF; False if it is full, or the kernel older than Linux 6.4."""
        try:
            os.pwritev(self._number, [data], -1, os.RWF_NOWAIT)
        except OSError as error:
            self._tries_pipe = isinstance(error, BlockingIOError)
            return False
        return True

    def _have_written(self, piece: _Piece) -> None:
        """Have it written by the thread; OSError if it is not."""
        looks = 0 if self._stalled else LAST_LOOKS
        if looks:
            self._hand_over(piece)
        while looks and not piece.done.wait(LOOK):
            looks -= self._is_ending()
        self._stalled = not looks
        if self._stalled:
            raise OSError(errno.ETIMEDOUT, "nobody reads it")
        if piece.error is not None:
            raise piece.error

    def _hand_over(self, piece: _Piece) -> None:
        with self._turn:
            self._unwritten += 1
            self._pieces.put(piece)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_pieces, name="outlet", daemon=True)
                self._writer.start()

    def _write_pieces(self) -> None:
        while True:
            piece = self._pieces.get()
            try:
                self._write_whole(memoryview(piece.data))
            except OSError as error:
                piece.error = error
            with self._turn:
                self._unwritten -= 1
            piece.done.set()

    def _write_whole(self, rest: memoryview) -> None:
        while rest:
            try:
                rest = rest[os.write(self._number, rest) :]
            except BlockingIOError:  # somebody made the stream non-blocking, and it is full
                select.select([], [self._number], [])
