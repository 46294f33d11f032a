"""The judges see what went wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulator import LoggedRequest
from tests.support.server_log import find_duplicates, makespan, most_in_any_window, read_log, refusals, wanted

MADE = LoggedRequest(
    arrived=0.0,
    method="POST",
    path="/v7/tests/1/snapshot",
    counted_at=1.0,
    answered=2.0,
    organization="o",
    aid="a",
    test="1",
    status=201,
    counted=True,
    snapshot="abcde",
    start=0.0,
    end=3600.0,
    is_public=False,
)


def at(moment: float, **changes: object) -> LoggedRequest:
    return replace(MADE, arrived=moment - 1, counted_at=moment, **changes)  # type: ignore[arg-type]  # fields of Entry


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 20))
def test_the_fullest_window_is_found(moments: list[int], period: int) -> None:
    """The count agrees with trying every window, in whatever order the entries come."""
    log = [at(float(moment)) for moment in moments]
    tried = max((sum(m <= other < m + period for other in moments) for m in moments), default=0)
    assert most_in_any_window(log, "o", float(period)) == tried


def test_only_what_counted_for_the_organization_is_counted() -> None:
    """Refusals and other organizations do not fill a window."""
    log = [at(1.0), at(2.0, counted=False, status=429), at(3.0, organization="p")]
    assert most_in_any_window(log, "o", 300.0) == 1
    assert [entry.counted_at for entry in refusals(log)] == [2.0]


def test_the_same_snapshot_made_again_is_seen() -> None:
    """Title and snapshot id do not matter; window, test and is_public do."""
    again = at(9.0, snapshot="fghij", display_name="other")
    log = [at(1.0), again, at(2.0, is_public=True), at(3.0, counted=False)]
    assert find_duplicates(log) == {wanted(MADE): 2}


def test_makespan_runs_from_the_first_arrival_to_the_last_count() -> None:
    """A refused request may be the first; none made is no time at all."""
    log = [at(5.0, counted=False), at(20.0), at(30.0), at(99.0, counted=False)]
    assert makespan(log) == 26.0
    assert makespan(log[:1]) == 0.0


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    """A log can be read while its process is writing, or after a kill in the middle."""
    path = tmp_path / "log.jsonl"
    path.write_text(MADE.to_line() + at(5.0).to_line()[:-9])
    assert read_log(path) == [MADE]
