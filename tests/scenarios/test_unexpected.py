"""What `expect_saved_event` has stopped stays stopped: the next process does not try its luck with one more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.http import jobfile_for, run_over_http, simulated

pytestmark = [pytest.mark.socket, pytest.mark.scaled]


@pytest.mark.parametrize("again", [{}, {"run_id": "first"}], ids=["run", "resume"])
def test_one_surprise_is_enough_for_every_process(tmp_path: Path, again: dict[str, Any]) -> None:
    """One snapshot was made and contradicts the file: neither a new run nor a resumed one makes another."""
    with simulated(tests=3, switches={"public_is_saved_event": False}) as (simulator, url):
        wary = jobfile_for(simulator, url, is_public=True, expect_saved_event=True)
        first, _ = run_over_http(simulator, wary, tmp_path / "store.db", run_id="first")
        second, notebook = run_over_http(simulator, wary, tmp_path / "store.db", **again)
    assert [ending.exit_code for ending in (first, second)] == [4, 4]
    assert second.pending_reasons == {"unexpected_snapshot": 2}
    assert len([entry for entry in simulator.log if entry.method == "POST"]) == 1
    assert [event.name for event in notebook.events].count("organization.stopped") == 1
