"""All that is done to the processes, their store and their network, one trouble after the other."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.chaos.crews import Crews, Worker
from tests.support.postgres import Server

PAUSE = (0.1, 1.2)
"""Seconds between two troubles, at random."""

STOPPED = (0.3, 4.5)
"""Seconds for which a process is stopped: the longest is more than its deadline and the grace together."""

BAD_NETWORK = (0.3, 3.0)
"""Seconds for which the network is bad."""

AWAY = 1.0
"""Seconds between the stop and the start of the database's server."""


@dataclass(slots=True)
class Later:
    """Something to be done at a moment of the monotonic clock."""

    at: float
    act: Callable[[], None]


@dataclass(slots=True)
class Troubles:
    """What there is to be hurt; `counts` says how often each trouble was made."""

    crews: Crews
    draw: random.Random
    turn_network: Callable[[str], None]
    owners: Path | None = None
    server: Server | None = None
    database: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    _next: float = 0.0
    _later: list[Later] = field(default_factory=list)

    def make(self, now: float) -> None:
        """Make the next trouble if it is due, and end those that have lasted long enough."""
        self._end_old(now)
        if now < self._next:
            return
        self._next = now + self.draw.uniform(*PAUSE)
        kinds = self._kinds()
        name = self.draw.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        if kinds[name][1](now):
            self.counts[name] += 1

    def end(self) -> None:
        """Let everything be."""
        for later in self._later:
            later.act()
        self._later.clear()
        self.turn_network("through")

    def _kinds(self) -> dict[str, tuple[float, Callable[[float], bool]]]:
        """Each trouble with its weight; it tells if there was anybody to hurt."""
        kinds: dict[str, tuple[float, Callable[[float], bool]]] = {
            "kill -9": (6, lambda _: self._signal(signal.SIGKILL)),
            "SIGHUP": (2, lambda _: self._signal(signal.SIGHUP)),
            "SIGTERM": (1, lambda _: self._signal(signal.SIGTERM)),
            "SIGSTOP": (4, self._stop_for_a_while),
        }
        for mode in ("away", "page", "page-after", "stall"):
            kinds[f"network: {mode}"] = (0.8, lambda now, mode=mode: self._spoil_network(now, mode))  # type: ignore[misc] # bound now
        if self.owners is not None:
            kinds["folder of owners cleaned"] = (2, lambda _: self._clean_owners())
        if self.server is not None:
            kinds["sessions cut"] = (2, lambda _: self._cut_sessions())
            kinds["server stopped and started"] = (0.4, lambda _: self._restart())
        return kinds

    def _pick(self) -> Worker | None:
        alive = self.crews.alive()
        return self.draw.choice(alive) if alive else None

    def _signal(self, number: signal.Signals) -> bool:
        worker = self._pick()
        if worker is None or worker.process is None:
            return False
        worker.process.send_signal(number)
        return True

    def _stop_for_a_while(self, now: float) -> bool:
        worker = self._pick()
        if worker is None or worker.process is None:
            return False
        process = worker.process
        worker.paused = True
        process.send_signal(signal.SIGSTOP)

        def carry_on() -> None:
            worker.paused = False
            process.send_signal(signal.SIGCONT)

        self._later.append(Later(now + self.draw.uniform(*STOPPED), carry_on))
        return True

    def _spoil_network(self, now: float, mode: str) -> bool:
        self.turn_network(mode)
        self._later.append(Later(now + self.draw.uniform(*BAD_NETWORK), lambda: self.turn_network("through")))
        return True

    def _clean_owners(self) -> bool:
        assert self.owners is not None
        for path in self.owners.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return True

    def _cut_sessions(self) -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.database, autocommit=True) as session:
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"
            )
            return True
        return False

    def _restart(self) -> bool:
        assert self.server is not None
        self.server.stop()
        time.sleep(AWAY)
        self.server.start()
        return True

    def _end_old(self, now: float) -> None:
        due = [later for later in self._later if later.at <= now]
        self._later = [later for later in self._later if later.at > now]
        for later in due:
            later.act()


@contextlib.contextmanager
def run_gateway(upstream: str) -> Iterator[tuple[str, Callable[[str], None]]]:
    """The network as a process: the API's address behind it, and the function that says how it is."""
    parts = urlsplit(upstream)
    command = [sys.executable, "-m", "tests.chaos.gateway", str(parts.hostname), str(parts.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        words = process.stdin

        def turn(mode: str) -> None:
            words.write(mode + "\n")
            words.flush()

        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}{parts.path}", turn
        finally:
            with contextlib.suppress(BrokenPipeError):
                words.close()
            process.terminate()


def owners_of(store: str) -> Path:
    """The folder of lock files beside a SQLite store."""
    return Path(os.fspath(store.removeprefix("sqlite:///")) + ".owners")
