"""`--quiet` in whole runs: cron sends a mail for each line on standard error."""

from __future__ import annotations

import pytest

from tests.cli.test_exit_codes import Place, place  # noqa: F401 - a fixture

pytestmark = pytest.mark.process

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
def test_a_quiet_run_that_ends_with_0_says_nothing(words: tuple[str, ...], place: Place) -> None:  # noqa: F811 - the fixture
    """Two jobs want each test, a clock time is there twice, an earlier run is unfinished, a variable is unknown."""
    (place.folder / "twice.yaml").write_text(TWICE, encoding="utf-8")
    assert place.ran("run", "twice.yaml", "--quiet", TE_TOKEN="wrong").code == 4
    loud = place.ran("plan", "twice.yaml", TESNAP_DEADLIN="1h")
    ended = place.ran("run", "twice.yaml", "--quiet", *words, TESNAP_DEADLIN="1h")
    assert "warning: " in loud.stderr
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout


def test_a_quiet_rehearsal_with_faults_that_it_gets_over_says_nothing(place: Place) -> None:  # noqa: F811 - the fixture
    """Server errors and lost answers are its business."""
    place.variables.clear()  # the limit as it is: a rehearsal is quick enough
    for seed in range(2):
        ended = place.ran("rehearse", "jobs.yaml", "--speed", "300", "--faults", "--seed", str(seed), "-q")
        assert ended.code == 0 or ended.stderr
        assert ended.code != 0 or not ended.stderr
