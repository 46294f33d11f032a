"""`--quiet` in whole runs: cron sends a mail for each line on standard error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_exit_codes import place  # noqa: F401 - a fixture
from tests.support.commands import ran

pytestmark = pytest.mark.socket

TWICE = """\
version: 1
name: nightly
timezone: Europe/Berlin
organizations: {acme: {token_env: TE_TOKEN}}
jobs:
  - {name: a, select: {test_name: "*"}, windows: [{start: "2026-10-25T02:30", duration: 1h}]}
  - {name: b, select: {test_name: "*"}, windows: [{start: "2026-10-25T02:30", duration: 1h}]}
"""


@pytest.mark.parametrize("words", [(), ("--log-format", "json"), ("--format", "csv"), ("--dry-run",)])
def test_a_quiet_run_that_ends_with_0_says_nothing(words: tuple[str, ...], place: Path) -> None:  # noqa: F811 - the fixture
    """Two jobs want each test, a clock time is there twice, an earlier run is unfinished, a variable is unknown."""
    (place / "twice.yaml").write_text(TWICE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as wrong:
        wrong.setenv("TE_TOKEN", "wrong")
        assert ran("run", "twice.yaml", "--quiet").code == 4
    with pytest.MonkeyPatch.context() as odd:
        odd.setenv("TESNAP_DEADLIN", "1h")
        loud = ran("plan", "twice.yaml")
        ended = ran("run", "twice.yaml", "--quiet", *words)
    assert "warning: " in loud.stderr
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout


def test_a_quiet_rehearsal_with_faults_that_it_gets_over_says_nothing(place: Path) -> None:  # noqa: F811 - the fixture
    """Server errors and lost answers are its business."""
    for seed in range(2):
        ended = ran("rehearse", "jobs.yaml", "--speed", "300", "--faults", "--seed", str(seed), "-q")
        assert ended.code == 0 or ended.stderr
        assert ended.code != 0 or not ended.stderr
