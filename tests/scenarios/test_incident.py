"""From "something is broken" to links: the command as a process, against the simulator, in scaled time."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.simulator import Simulator, serve
from tests.support.incident import (
    alerting_world,
    install,
    longest_first,
    markdown_table,
    most_overtaken,
    posted,
    start,
)
from tests.support.server_log import most_in_any_window

pytestmark = [pytest.mark.process, pytest.mark.scaled]

PERIOD = 3.0
SCALED = ("--per", "3s", "--guard", "10ms", "--grace", "60s", "--timeout", "60s")


def test_links_of_everything_alerting_come_at_once_and_the_longest_alerting_first(tmp_path: Path) -> None:
    """From an empty store: all twelve at the limit's pace, in one table; `python -m benchmarks startup` takes the time."""
    simulator = Simulator(alerting_world(), period=PERIOD, latency=(0.020, 0.0))
    installed = install(tmp_path)
    with serve(simulator) as url:
        environ = {"TE_TOKEN": "token-1", "TE_BASE_URL": url}
        words = ("snap", "--alerting", "--last", "2h", "--title", "INC-4711", "--format", "md", *SCALED)
        started = start(installed, *words, environ=environ)
    assert started.code == 0, started.stderr

    head, *rows = markdown_table(started.stdout)
    assert head == ["Status", "Test", "Organization", "Window", "Link", "Expiry"]
    assert {row[0] for row in rows} == {"created"}
    assert len({row[head.index("Link")] for row in rows}) == len(rows) == 12
    assert all(row[head.index("Link")].startswith("https://") for row in rows)

    # The five of a period travel side by side.
    assert most_overtaken(posted(simulator.log), longest_first(simulator.world)) < 5
    assert most_in_any_window(simulator.log, "1001", PERIOD) <= 5
