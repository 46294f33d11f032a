"""The life of a saved event, of which ThousandEyes' documents say two things: commands, a real store, the simulator over HTTP."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.commands import tesnap
from orchestrator.core import utc_text
from orchestrator.core.clock import SystemClock
from orchestrator.simulator import example_world, serve
from orchestrator.windows.durations import DAY
from tests.support.incident import Gateway

pytestmark = [pytest.mark.socket, pytest.mark.scaled]

JOBS = """\
version: 1
organizations: {{acme: {{token_env: TOKEN, base_url: '{url}', limit: {{per: 3s, guard: 10ms}}}}}}
jobs: [{{name: n, tests: ['202701'], windows: [{{end: '{end}', duration: 1h}}], is_public: {public}}}]
"""
SENTENCE = r"end unknown: 30 days or never, ThousandEyes' documents disagree; save it by \d+ \w+ \d{4}"


class Home:
    """A job file for one snapshot, and a store whose snapshots can grow old."""

    def __init__(self, simulator: Gateway, url: str, folder: Path, *, public: bool) -> None:
        self.simulator, self._store, self._jobs = simulator, folder / "t.db", folder / "jobs.yaml"
        end = utc_text((SystemClock().wall() - DAY) // 3600 * 3600)
        self._jobs.write_text(JOBS.format(url=url, end=end, public=str(public).lower()))

    def type(self, *words: str) -> Result:
        """Type a command."""
        environ = {"TOKEN": "token-1", "TESNAP_STORE": f"sqlite:///{self._store}", "TZ": "UTC"}
        return CliRunner().invoke(tesnap, words, env=environ, standalone_mode=False)

    def run(self, *words: str) -> tuple[dict[str, Any], str]:
        """Run the job file: the record of its one snapshot, and what was said."""
        ended = self.type("run", str(self._jobs), *words)
        assert ended.return_value == 0, ended.output
        (record,) = [one for one in map(json.loads, ended.stdout.splitlines()) if "snapshot." in one["event"]]
        return record, ended.stderr

    def grow_old(self, days: int) -> None:
        """Have everything be made so many days earlier."""
        with closing(sqlite3.connect(self._store)) as store, store:
            store.execute(
                "UPDATE task SET settled_wall = settled_wall - :age, snapshot = json_set(snapshot,"
                " '$.shared_at', json_extract(snapshot, '$.shared_at') - :age)",
                {"age": days * DAY},
            )

    def forget_saved_events(self) -> None:
        """Have ThousandEyes list no saved events any more."""
        self.simulator._origin._saved.clear()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Callable[..., Home]]:
    """Make the home of a job file, with one simulator."""
    simulator = Gateway(example_world(1, 3), {}, latency=(0.005, 0.0), period=3.0)
    with serve(simulator) as url:
        yield lambda public=True: Home(simulator, url, tmp_path, public=public)


def test_nobody_says_when_a_saved_event_ends(home: Callable[..., Home], tmp_path: Path) -> None:
    """No end in the record but the day by which to save it, and the sentence in every report."""
    here = home()
    record, _ = here.run("--report", str(tmp_path / "r.html"), "--report", str(tmp_path / "r.md"))
    assert "expires_at" not in record
    assert record["saved_event"] is True
    assert record["may_expire_at"] > utc_text(SystemClock().wall() + 29 * DAY)
    told = [here.type("list").stdout, (tmp_path / "r.md").read_text()]
    assert all(re.search(SENTENCE, text) for text in told)
    page = (tmp_path / "r.html").read_text()
    assert "The end of all is unknown: 30 days or never" in page
    assert "may_expire_at" in here.type("report", "--format", "csv").stdout
    assert "deleted by ThousandEyes" not in page + "".join(told)
    (listed,) = json.loads(here.type("list", "--json").stdout)
    assert listed["may_expire_at"] == record["may_expire_at"]


def test_a_share_link_ends_after_thirty_days(home: Callable[..., Home]) -> None:
    """Of these the documents say one thing: gone from the list, and made again."""
    here = home(public=False)
    first, _ = here.run()
    assert "may_expire_at" not in first
    here.grow_old(31)
    assert here.type("list").stdout == "no such snapshots\n"
    again, _ = here.run()
    assert (again["event"], again["snapshot_id"] == first["snapshot_id"]) == ("snapshot.created", False)


def test_a_saved_event_that_is_listed_exists(home: Callable[..., Home]) -> None:
    """However old it is; it stays in the list, and nothing is made."""
    here = home()
    first, _ = here.run()
    here.grow_old(29)
    assert re.search(SENTENCE, here.type("list", "--expiring-within", "7d").stdout)
    here.grow_old(29)
    assert re.search(SENTENCE, here.type("list").stdout)
    assert here.type("list", "--expiring-within", "7d").stdout == "no such snapshots\n"
    again, told = here.run()
    assert (again["event"], again["snapshot_id"]) == ("snapshot.existing", first["snapshot_id"])
    assert ("unverified" in again, "made again" in told) == (False, False)


def test_a_saved_event_that_is_no_longer_listed_is_made_again_and_that_is_said(
    home: Callable[..., Home],
) -> None:
    """Before its thirty days are over nobody asks the list; then the plan and the run say the same."""
    here = home()
    first, _ = here.run()
    here.forget_saved_events()
    assert here.run()[0]["event"] == "snapshot.existing"
    here.grow_old(31)
    planned = here.type("run", str(here._jobs), "--dry-run").output
    again, told = here.run()
    for said in (planned, told):
        assert (
            "acme: 1 saved event made over 30 days ago and no longer in the list of tests: made again" in said
        )
    assert (again["event"], again["snapshot_id"] == first["snapshot_id"]) == ("snapshot.created", False)
    assert here.type("list", "--json").stdout.count("snapshot_id") == 1


def test_a_saved_event_whose_list_cannot_be_read_is_taken_for_existing_unverified(
    home: Callable[..., Home],
) -> None:
    """Making it twice would be the greater harm; it is said, and a later run looks again."""
    here = home()
    first, _ = here.run()
    here.grow_old(31)
    here.simulator.changes["/tests"] = {"status": 500, "body": b""}
    again, told = here.run()
    assert (again["event"], again["snapshot_id"]) == ("snapshot.existing", first["snapshot_id"])
    assert again["unverified"] is True
    assert "treated as existing (unverified); --again makes new ones" in told
    here.simulator.changes.clear()
    assert "unverified" not in here.run()[0]
