"""The simulator as a process of its own; its log is what the judge believes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.crash.load import PERIOD, TESTS, TIMEOUT

FAULTS = "reset-after=0.01,reset-before=0.01,503=0.01"
"""A little ordinary trouble; nothing that may make a snapshot twice by itself."""

LATENCY = (0.08, 0.07)
"""Mean and spread in seconds: as a share of the period that is 8 s, and 7 s more or less."""

LONGEST = 3600.0
"""Real seconds after which it ends by itself, whatever became of its campaign."""


@contextlib.contextmanager
def simulator(
    log: Path,
    *,
    organizations: int,
    tests: int = TESTS,
    seed: int = 0,
    faults: str = FAULTS,
    latency: tuple[float, float] = LATENCY,
    period: float = PERIOD,
) -> Iterator[str]:
    """The simulator as a process of its own; its base URL."""
    words = [
        "--organizations",
        organizations,
        "--tests",
        tests,
        "--period",
        period,
        "--seed",
        seed,
        "--log",
        log,
    ]
    words += [
        "--max-seconds",
        LONGEST,
        "--latency",
        latency[0],
        "--spread",
        latency[1],
        "--hang",
        TIMEOUT + 1,
        "--faults",
        faults,
    ]
    command = [sys.executable, "-m", "orchestrator.simulator", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
