"""How long many processes take to share one organization's snapshots, and what ten starts at once come to."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from orchestrator.simulator import LoggedRequest, example_world
from tests.crash.campaign import FINISHED
from tests.crash.load import HOUR, LIMIT, PERIOD, Errand
from tests.crash.mortal import Life, live
from tests.crash.server import simulator
from tests.support.server_log import makespan, read_log

PROMPT = (0.020, 0.010)
"""A server's mean latency and its spread, in seconds."""

PATIENCE = 300.0
"""Real seconds after which a process that has not ended is stuck."""

UNHURRIED = 60.0
"""Seconds of an attempt, and of its grace: every answer comes, and no grant grows stale, however busy the machine is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What processes did together: the server's log, their exit codes, and how long they took."""

    log: Sequence[LoggedRequest]
    codes: Sequence[int | None]
    tests: int
    period: float

    @property
    def ratio(self) -> float:
        """The time from the first request to the last snapshot, as a multiple of what the limit demands."""
        return makespan(self.log) / ((ceil(self.tests / LIMIT.snapshots) - 1) * self.period)


def share(store: str, folder: Path, *, processes: int, tests: int = 40, period: float = PERIOD) -> Shared:
    """So many processes make one run's snapshots of one organization together."""
    log = folder / "server.jsonl"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.crash.mortal"])
    with simulator(log, organizations=1, tests=tests, faults="", latency=PROMPT, period=period) as base_url:
        start = int(time.time() // HOUR - 2) * HOUR
        one = Errand(
            run_id="shared",
            base_url=base_url,
            world=(1, tests),
            organizations=(0,),
            start=start,
            period=period,
            timeout=UNHURRIED,
            grace=UNHURRIED,
        )
        lives = [
            Life(
                errand=one,
                store=store,
                ledger=folder / "ledger",
                output=folder / f"{at}.jsonl",
                seed=at,
                nice=0,
            )
            for at in range(processes)
        ]
        started = [context.Process(target=live, args=(life,)) for life in lives]
        for process in started:
            process.start()
        for process in started:
            process.join(PATIENCE + ceil(tests / LIMIT.snapshots) * period)
            process.kill()
            process.join()
    return Shared(
        log=read_log(log), codes=[process.exitcode for process in started], tests=tests, period=period
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of the command line: its exit code, its records and what it said."""

    code: int
    records: Sequence[Mapping[str, Any]]
    said: str

    @property
    def counts(self) -> Mapping[str, int]:
        """The counts of the last record."""
        return dict(self.records[-1].get("counts", {})) if self.records else {}


def start_at_once(
    store: str, folder: Path, *, starts: int, tests: int
) -> tuple[list[Start], list[LoggedRequest]]:
    """The same job file, started so many times at once by the command line; and the server's log."""
    log, file = folder / "server.jsonl", folder / "jobs.yaml"
    with simulator(log, organizations=1, tests=tests, faults="", latency=PROMPT) as base_url:
        file.write_text(_jobs(base_url, tests))
        command = [
            sys.executable,
            "-m",
            "orchestrator",
            "run",
            str(file),
            "--store",
            store,
            "--per",
            f"{PERIOD:g}s",
        ]
        command += ["--guard", "10ms", "--grace", f"{UNHURRIED:g}s", "--timeout", f"{UNHURRIED:g}s"]
        environ = {**os.environ, "ACME_TOKEN": "token-1"}
        started = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
            for _ in range(starts)
        ]
        try:
            ended = [_ended(process) for process in started]
        finally:
            for process in started:
                process.kill()
    return ended, read_log(log)


def _ended(process: subprocess.Popen[str]) -> Start:
    out, said = process.communicate(timeout=PATIENCE)
    return Start(code=process.returncode, records=[json.loads(line) for line in out.splitlines()], said=said)


def _jobs(base_url: str, tests: int) -> str:
    ids = [test.test_id for test in example_world(1, tests).organizations[0].account_groups[0].tests]
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    return f"""\
version: 1
organizations: {{acme: {{token_env: ACME_TOKEN, base_url: "{base_url}"}}}}
jobs:
  - name: checkout
    organization: acme
    tests: [{", ".join(ids)}]
    windows: [{{start: "{day}T10:00:00Z", end: "{day}T11:00:00Z"}}]
"""


def all_came_to_their_end(shared: Shared) -> bool:
    """Whether every process ended by itself."""
    return all(code in FINISHED for code in shared.codes)
