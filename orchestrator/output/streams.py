"""Lines of text that go to a stream whole, whoever else writes there."""

from __future__ import annotations

import select
from typing import TextIO


class Lines:
    """A text stream to which each line goes whole, at once and in one write.

    So the lines of several processes that append to one file stay whole, and nothing is left in a buffer
    that a closed pipe would make fail at exit. OSError when the stream is gone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._raw = getattr(getattr(stream, "buffer", None), "raw", None)

    def write(self, text: str) -> int:
        """Write text that ends a line; returns the number of its characters."""
        if self._raw is None:
            self._stream.write(text)
            self._stream.flush()
            return len(text)
        self._stream.flush()
        rest = memoryview(text.encode(self.encoding, "backslashreplace"))
        while rest:
            written = self._raw.write(rest)
            if written is None:  # somebody made the stream non-blocking, and it is full
                select.select([], [self._raw], [])
            rest = rest[written or 0 :]
        return len(text)

    @property
    def encoding(self) -> str:
        """The stream's encoding; what it lacks is written as Python escapes it."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """True if somebody looks at it."""
        return self._stream.isatty()

    def flush(self) -> None:
        """Nothing to do: `write` keeps nothing back."""


class UnfailingLines(Lines):
    """Standard error: when it is gone there is nobody left to tell, and the run goes on."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)
