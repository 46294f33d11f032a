"""What pods of one night share: an API, job files, a token, a store; and looks into the store from outside of them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.simulator import LoggedRequest
from tests.support.server_log import read_log

PERIOD = 4.0
LIMIT = 20
"""Seconds and snapshots of the limit here: a run of forty is two rounds."""

PATIENCE = 120.0
"""Seconds of waiting for something in a container, which a busy machine may need, before a broken test is ended."""

AT_ONCE = 6
"""Containers that tests run side by side: most of each is waiting."""

TOKEN = "token-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An API on loopback, its log, and a folder from which containers are given what they need."""

    url: str
    log_file: Path
    folder: Path
    limit: int = LIMIT
    period: float = PERIOD

    @property
    def log(self) -> list[LoggedRequest]:
        """What the server saw until now."""
        return read_log(self.log_file)

    @property
    def posts(self) -> list[LoggedRequest]:
        """The requests for snapshots that it saw."""
        return [entry for entry in self.log if entry.method == "POST"]

    def job_folder(
        self, tests: int, *, url: str = "", extra: str = "", name: str = "night", timeout: float = 15.0
    ) -> Path:
        """A folder with one job file that wants a window of so many tests, each attempt in `timeout` seconds."""
        folder = self.folder / f"jobs-{name}"
        folder.mkdir(exist_ok=True)
        ids = ", ".join(f'"{202701 + number}"' for number in range(tests))
        (folder / f"{name}.yaml").write_text(
            f"version: 1\nname: {name}\n"
            "organizations:\n"
            f'  acme: {{base_url: "{url or self.url}", token_file: /run/secrets/te/token,\n'
            f"    limit: {{snapshots: {self.limit}, per: {self.period:g}s, guard: 50ms, grace: 4s}}}}\n"
            f"http: {{timeout: {timeout:g}s}}\n"
            f"jobs:\n  - {{name: {name}, tests: [{ids}], windows: [{{last: 1h, until: '00:00'}}]}}\n"
            f"timezone: Etc/UTC\n{extra}"
        )
        return folder

    def token_file(self, text: str = TOKEN, *, mode: int = 0o444) -> Path:
        """A file with the token."""
        file = self.folder / "token"
        file.unlink(missing_ok=True)
        file.write_text(f"{text}\n")
        file.chmod(mode)
        return file

    def mounts(self, jobs: Path, store: str) -> list[str]:
        """The mounts of the README's command."""
        return [
            *("--volume", f"{jobs}:/jobs:ro"),
            *("--volume", f"{self.token_file()}:/run/secrets/te/token:ro"),
            *("--volume", f"{store}:/var/lib/tesnap"),
        ]

    def ping_mount(self, switch: Switch, check: str) -> list[str]:
        """The mount of a file with the address of a check."""
        file = self.folder / f"ping-{check}"
        file.write_text(f"{switch.url}/{check}\n")
        return ["--volume", f"{file}:/run/secrets/ping:ro"]


@contextmanager
def serve_world(folder: Path, *, limit: int = LIMIT, period: float = PERIOD) -> Iterator[World]:
    """A simulator as a process of its own."""
    log = folder / "requests.jsonl"
    options = {
        "--tests": 60,
        "--limit": limit,
        "--period": period,
        "--latency": 0.02,
        "--spread": 0.0,
        "--log": log,
        "--max-seconds": 600,
    }
    words = [str(word) for pair in options.items() for word in pair]
    command = [sys.executable, "-m", "orchestrator.simulator", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            log.touch()
            yield World(url=url, log_file=log, folder=folder, limit=limit, period=period)
        finally:
            process.terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A dead man's switch on loopback, in the manner of healthchecks: the moments it was told of, by the check's name."""

    url: str
    told: dict[str, list[str]] = field(default_factory=dict)

    def moments(self, check: str) -> list[str]:
        """The moments of one check in their order: start, success, fail, log."""
        return self.told.get(check, [])


@contextmanager
def serve_switch() -> Iterator[Switch]:
    """A receiver of pings; `URL/CHECK` is the address of a check."""
    told: dict[str, list[str]] = {}

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            _, check, *moment = urlsplit(self.path).path.split("/")
            told.setdefault(check, []).append(moment[0] if moment else "success")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Switch(url=f"http://127.0.0.1:{server.server_port}", told=told)
        finally:
            server.shutdown()


def states(store: Path) -> list[str]:
    """The status of each task in a store that others are at work with; empty while there is none."""
    file = store / "tesnap.db"
    if not file.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as database:
            return [status for (status,) in database.execute("SELECT status FROM task")]
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return []


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that a container does; fails when it does not come."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.05)
