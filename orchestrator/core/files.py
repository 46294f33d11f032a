"""Files that a user names: read up to a size, and without waiting for a pipe that nobody writes into."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from orchestrator.core.hidden import MASK
from orchestrator.core.redact import is_plain, looks_secret

_STREAMS = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")  # where a shell puts its own pipes: `<(…)`, `|`


def read_start(path: Path, most: int) -> bytes:
    """The file's first bytes, at most so many; OSError, or ValueError for a path that cannot be, says why not."""
    if "\0" in str(path):
        raise ValueError("there is a NUL character in its path")
    if str(path).startswith(_STREAMS):
        with path.open("rb") as stream:
            return stream.read(most)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode):
            return file.read(most)
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")


def printable(text: str) -> str:
    """A file's name as text: what is no character, or none that is printed, is replaced; never what may be a token."""
    if "/" not in text and looks_secret(text):
        return MASK
    known = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(char if is_plain(char) else "\N{REPLACEMENT CHARACTER}" for char in known)
