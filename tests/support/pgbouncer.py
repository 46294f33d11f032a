"""A real PgBouncer before a real PostgreSQL server: on loopback, of no privileges, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from orchestrator.core.clock import SystemClock
from tests.support.postgres import free_port
from tests.support.programs import find_program

PATIENCE = 60.0
"""Seconds for its start on a machine that does a lot else."""


@contextlib.contextmanager
def pgbouncer(url: str, **settings: str | int) -> Iterator[str]:
    """A pooler before the server of a database; the database's address through it."""
    program, server, port = find_program("pgbouncer", "pgbouncer"), urlsplit(url), free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)  # it is nobody who reads there
        users, config = Path(folder) / "users", Path(folder) / "config"
        users.write_text(f'"{server.username}" ""\n')
        plain = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "trust"}
        lines = (f"{key} = {value}" for key, value in {**plain, "auth_file": users, **settings}.items())
        place = f"* = host={server.hostname} port={server.port}"
        config.write_text("\n".join(["[databases]", place, "[pgbouncer]", *lines, ""]))
        user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses to run as root
        process = subprocess.Popen([program, "-q", config], stderr=subprocess.DEVNULL, user=user)
        try:
            through = f"postgresql://{server.username}@127.0.0.1:{port}{server.path}"
            _await(through, process)
            yield through
        finally:
            process.kill()
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until it takes connections; its end is a failure."""
    clock = SystemClock()
    ends = clock.boot() + PATIENCE
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            assert process.poll() is None, "PgBouncer has ended"
            assert clock.boot() < ends, "PgBouncer does not answer"
            clock.sleep(0.05)
        else:
            return
