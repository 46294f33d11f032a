"""The answer beside the request: another test's snapshot, or another window, over HTTP and with a real store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.clock import SystemClock
from orchestrator.output import records
from orchestrator.simulator import Exchange, Reply, Simulator, example_world, serve
from tests.support.http import PERIOD, PROMPT, TIMEOUT, jobfile_for, run_over_http

pytestmark = [pytest.mark.socket, pytest.mark.scaled]


class Mistaken(Simulator):
    """A server that changes what it says of each snapshot."""

    def __init__(self, **changes: object) -> None:
        super().__init__(example_world(1, 3, now=SystemClock().wall()), period=PERIOD, latency=PROMPT)
        self.changes = changes

    def process(self, exchange: Exchange, at: float) -> Reply | None:
        reply = super().process(exchange, at)
        if reply is None or reply.status != 201:
            return reply
        said = json.loads(reply.body)
        shift = int(str(self.changes.get("shift", 0)))
        said |= {name: said[name] + shift for name in ("startRoundId", "endRoundId")}
        said |= {name: value for name, value in self.changes.items() if name != "shift"}
        return replace(reply, body=json.dumps(said).encode())


def test_a_snapshot_of_another_test_stops_its_organization_after_one(tmp_path: Path) -> None:
    """The one that was made is in the record with whose it is; a later start makes no second one."""
    simulator = Mistaken(sourceTestId="999")
    with serve(simulator, clock=SystemClock(), hang=TIMEOUT + 1) as url:
        jobfile = jobfile_for(simulator, url)
        first, notebook = run_over_http(simulator, jobfile, tmp_path / "store.db", run_id="r1")
        again, _ = run_over_http(simulator, jobfile, tmp_path / "store.db", run_id="r1")
    assert [ending.exit_code for ending in (first, again)] == [4, 4]
    assert first.pending_reasons == again.pending_reasons == {"unexpected_snapshot": 2}
    assert [entry.method for entry in simulator.log].count("POST") == 1
    (result,) = notebook.results
    assert records.snapshot_record(result, run_id="r1", show_links=True)["source_test_id"] == "999"
    (said,) = [event.text for event in notebook.events if event.name == "organization.stopped"]
    assert f"a snapshot of test 999 came back where test {result.task.test_id} was asked for" in said


@pytest.mark.parametrize(("shift", "warned"), [(0, False), (-60, False), (-899, False), (900, True)])
def test_another_window_is_in_the_record_and_said_beyond_a_round(
    tmp_path: Path, shift: int, *, warned: bool
) -> None:
    """Everything is made all the same."""
    simulator = Mistaken(shift=shift)
    with serve(simulator, clock=SystemClock(), hang=TIMEOUT + 1) as url:
        ending, notebook = run_over_http(simulator, jobfile_for(simulator, url), tmp_path / "store.db")
    assert (ending.exit_code, ending.counts.created) == (0, 3)
    for result in notebook.results:
        record = records.snapshot_record(result, run_id="r1", show_links=True)
        assert ("window_returned" in record) is (shift != 0)
        asked = result.task.window
        if result.window_returned is not None:
            assert (result.window_returned.start, result.window_returned.end) == (
                asked.start + shift,
                asked.end + shift,
            )
    told = [event for event in notebook.events if "was asked for" in event.text]
    assert len(told) == (3 if warned else 0)
    assert {event.level for event in told} <= {"warning"}
