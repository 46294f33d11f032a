"""Real programs that a test needs beside Python packages: a proxy, a pooler, a shell's server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

PLACES = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where Debian keeps servers: not on every user's PATH."""

PATIENCE = 60.0
"""Seconds after which a program that does not listen is given up."""


def find_program(name: str, package: str) -> Path:
    """The program's path; without it the test is skipped and says which Debian package has it, and fails in CI."""
    found = shutil.which(name) or shutil.which(name, path=PLACES)
    if found is None:
        skip_outside_ci(f"there is no {name} on this machine: install Debian's package {package}")
    return Path(str(found))


def skip_outside_ci(reason: str) -> None:
    """Skip the test where something real is missing, and fail it in CI, where nothing may be."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def wait_for_port(program: subprocess.Popen[bytes], host: str, port: int) -> None:
    """Wait until the program takes connections there; fails when it has ended, or takes too long."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((host, port), timeout=PATIENCE).close()
        except OSError:
            assert program.poll() is None, f"{program.args!r} has ended"
            assert time.monotonic() < end, f"{program.args!r} does not listen"
            time.sleep(0.05)
        else:
            return
