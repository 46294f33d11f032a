"""`tesnap backup` and `tesnap restore` as people and cron use them, while a run is at work and after it."""

from __future__ import annotations

import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestrator.simulator import Simulator, example_world, serve
from tests.crash.judge import busiest
from tests.support.commands import LONGEST, ROOT, Ran, environment, run_tesnap

pytestmark = [pytest.mark.socket, pytest.mark.process]

JOBFILE = """\
version: 1
name: nightly
organizations: {acme: {token_env: TE_TOKEN, limit: {per: 3s, guard: 0s, grace: 1s}}}
http: {timeout: 1s}
jobs: [{name: a, tests: [TESTS], windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}]
"""

PERIOD, TESTS = 3.0, 12


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Simulator]:
    """An API with a short period, and a job of more snapshots than two periods allow."""
    simulator = Simulator(example_world(1, TESTS), latency=(0.0, 0.0), per=PERIOD)
    tests = simulator.world.organizations[0].account_groups[0].tests
    (tmp_path / "job.yaml").write_text(
        JOBFILE.replace("TESTS", ", ".join(f'"{test.test_id}"' for test in tests)), encoding="utf-8"
    )
    yield simulator
