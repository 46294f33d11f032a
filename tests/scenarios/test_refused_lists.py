"""Lists that are refused with 429 and an odd `Retry-After`: every command that reads ends, and says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.core.clock import SystemClock
from orchestrator.simulator import example_world, serve
from tests.support.commands import LONGEST
from tests.support.incident import Gateway

pytestmark = [pytest.mark.socket, pytest.mark.process, pytest.mark.scaled]

LISTS = ("/account-groups", "/tests", "/tags", "/alerts", "/users/current")

ODD = {
    "huge": {"Retry-After": "99999999999999999999"},
    "far future": {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
    "past": {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"},
    "fraction": {"Retry-After": "0.25"},
}

COMMANDS = {
    "run": ("run", "jobs.yaml"),
    "plan": ("plan", "jobs.yaml"),
    "tests": ("tests", "--type", "http-server"),
    "snap": ("snap", "--type", "http-server", "--last", "1h"),
    "doctor": ("doctor",),
}

JOBS = """
version: 1
organizations: {acme: {token_env: TE_TOKEN, base_url: URL}}
jobs: [{name: all, select: {type: http-server}, windows: [{last: 1h}]}]
"""


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_whose_lists_are_refused_ends_and_says_why(tmp_path: Path, command: str, kind: str) -> None:
    """As a process of its own: nothing is sent, and the words are the API's wish to wait."""
    clock = SystemClock()
    headers = {**ODD[kind], "Date": "Sat, 28 Nov 2026 12:00:00 GMT"}
    refused = {path: {"status": 429, "body": b"", "headers": headers} for path in LISTS}
    simulator = Gateway(example_world(1, 3, now=clock.wall()), refused, latency=(0.0, 0.0))
    with serve(simulator, clock=clock) as url:
        (tmp_path / "jobs.yaml").write_text(JOBS.replace("URL", url))
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *COMMANDS[command]],
            cwd=tmp_path,
            env={
                "TE_TOKEN": "token-1",
                "TE_BASE_URL": url,
                "TESNAP_STORE": f"sqlite:///{tmp_path}/store.db",
                "HOME": str(tmp_path),
                "TZ": "UTC",
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    assert done.returncode in (3, 5), done.stderr
    assert not any(entry.method == "POST" for entry in simulator.log)
    said = done.stdout + done.stderr
    assert "Too many requests" in said or "limit" in said
    if command != "doctor":
        assert "the API asks to wait until" in done.stderr
        assert "The API asks to wait for" in done.stderr
