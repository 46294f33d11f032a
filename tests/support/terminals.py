"""Real terminals: a program that runs on one, in a session of its own as after a login, and what becomes of both."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 60.0
"""Real seconds after which a test gives up."""

TESNAP = (sys.executable, "-m", "orchestrator")


@dataclass(slots=True)
class Terminal:
    """A program on a terminal: the kernel treats it as it treats the first program after a login."""

    child: subprocess.Popen[bytes]
    master: int
    shown: bytearray = field(default_factory=bytearray)

    def type(self, text: str) -> None:
        """Type on its keyboard."""
        os.write(self.master, text.encode())

    def read(self, seconds: float = 0.1) -> bytes:
        """Take what it has shown since, waiting so long for the first of it; returns all that it ever showed."""
        with contextlib.suppress(OSError):  # the program has gone
            while select.select([self.master], [], [], seconds)[0]:
                self.shown += os.read(self.master, 65_536)
                seconds = 0.0
        return bytes(self.shown)

    def wait_for(self, text: str) -> None:
        """Look until it shows this text."""
        wait_until(lambda: text.encode() in self.read(), f"{text!r} in {bytes(self.shown)!r}")

    def close(self) -> None:
        """Hang up: the window is closed, the connection drops."""
        with contextlib.suppress(OSError):
            os.close(self.master)

    def end(self) -> int:
        """The exit code once the program has ended; negative for the signal that killed it."""
        return self.child.wait(PATIENCE)


@contextmanager
def on_terminal(command: Sequence[str], environ: Mapping[str, str], *, cwd: Path) -> Iterator[Terminal]:
    """Run a command on a terminal of its own."""
    master, slave = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=dict(environ),
        cwd=cwd,
        start_new_session=True,
        preexec_fn=take_terminal,  # noqa: PLW1509 - the test has no thread that holds a lock of C's
    )
    os.close(slave)
    terminal = Terminal(child, master)
    try:
        yield terminal
    finally:
        terminal.close()
        child.kill()
        child.wait(PATIENCE)


def wait_until(condition: Callable[[], object], what: object = "") -> None:
    """Look until the condition holds; AssertionError when it does not for a long time."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, f"waited in vain: {what}"
        time.sleep(0.02)
