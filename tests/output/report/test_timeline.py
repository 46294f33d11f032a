"""The drawing of a run: lanes, rows, slots and ticks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Result
from orchestrator.output.report.timeline import COMPACT_LANE, LEFT, WIDTH, Timeline, draw_timeline
from orchestrator.windows.durations import DAY
from tests.support.reports import (
    ACME,
    GLOBEX,
    START,
    created,
    failed,
    paced,
    pending,
)

BERLIN = ZoneInfo("Europe/Berlin")


def drawn(results: Iterable[Result], **changes: Any) -> Timeline:
    found = draw_timeline(list(results), **{"since": START, "now": START + 1500, "zone": BERLIN, **changes})
    assert found is not None
    return found


def test_the_timeline_shows_whose_slot_each_one_waited_for() -> None:
    """Of twelve snapshots five go at once; each later one takes the slot of the one five before it."""
    (lane,) = drawn(paced(12)).lanes
    assert [row.label for row in lane.rows] == [one.task.test_name for one in paced(12)]
    ys = {row.y: number for number, row in enumerate(lane.rows)}
    assert [(ys[hand.y1], ys[hand.y2]) for hand in lane.handovers] == [
        (number, number + 5) for number in range(7)
    ]
    assert "waited 5 m 3 s for the slot of Checkout EU 01" in lane.rows[5].words
    assert {bar.kind for bar in lane.rows[0].bars} == {"sent"}
    assert {bar.kind for bar in lane.rows[5].bars} == {"slot", "sent"}


def test_the_timeline_tells_waiting_for_a_window_from_waiting_for_a_slot() -> None:
    """What could not go yet is drawn apart from what had to wait for others."""
    late = replace(created(0, 400), task=replace(created(0, 400).task, ready_at=START + 300))
    (lane,) = drawn([late]).lanes
    assert [bar.kind for bar in lane.rows[0].bars] == ["window", "slot", "sent"]
    assert "waited 5 m for its window to be complete, waited 1 m 40 s for its turn" in lane.rows[0].words


def test_a_lane_is_one_organization_and_only_what_the_run_did_itself_is_in_it() -> None:
    """Lanes are by the user's names, and what existed before has no times of this run."""
    existing = replace(created(9, 0), made_here=False)
    found = drawn([created(0, 0), created(1, 0, organization=GLOBEX), existing])
    assert [(lane.name, len(lane.rows)) for lane in found.lanes] == [("acme", 1), ("globex", 1)]
    assert draw_timeline([existing], since=START, now=START, zone=BERLIN) is None


def test_the_slot_of_an_unanswered_request_is_handed_to_nobody() -> None:
    """It comes back later than a period after anything that was seen."""
    lost = replace(created(0, 0), http_status=None)
    assert drawn([lost, created(1, 303.5)]).lanes[0].handovers == ()


def test_what_was_not_waiting_took_nobodys_slot() -> None:
    """Whose window ended after a slot had come back waited for its window alone."""
    first, second = created(0, 0), created(1, 303.5)
    late = replace(second, task=replace(second.task, ready_at=START + 303))
    assert len(drawn([first, second]).lanes[0].handovers) == 1
    assert drawn([first, late]).lanes[0].handovers == ()


def test_a_run_that_was_left_alone_keeps_its_shape() -> None:
    """What still waits days later does not squeeze the rest of the drawing into a dot."""
    found = drawn([*paced(12), pending(20)], now=START + 9 * DAY)
    (lane,) = found.lanes
    assert [row.settled for row in lane.rows][11] == pytest.approx(LEFT + WIDTH / 2, abs=1)
    assert lane.rows[12].bars[0].x2 == LEFT + WIDTH


def test_ticks_are_round_moments_of_the_readers_clock() -> None:
    """At most seven marks, on whole steps in the zone, all inside the drawing."""
    ticks = drawn(paced(12)).ticks
    assert [tick.label for tick in ticks] == ["15:00", "15:02", "15:04", "15:06", "15:08", "15:10"]
    assert all(LEFT <= tick.x <= LEFT + WIDTH for tick in ticks)


@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e7),
            st.floats(-1e6, 1e7),
            st.floats(-1e6, 1e7),
            st.sampled_from(["made", "failed", "waits"]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_the_timeline_stays_inside_whatever_the_clocks_did(
    times: list[tuple[float, float, float, str]],
) -> None:
    """Times out of order, as after a set clock, are drawn in order and within the width."""
    results = []
    for number, (queued, sent, settled, how) in enumerate(times):
        made = {"made": created, "failed": failed}.get(how, lambda position, _: pending(position))(
            number, 0.0
        )
        results.append(
            replace(made, queued_wall=START + queued, sent_wall=START + sent, settled_wall=START + settled)
        )
    (lane,) = drawn(results).lanes
    for row in lane.rows:
        points = [point for bar in row.bars for point in (bar.x1, bar.x2)] + (
            [row.settled] if row.settled is not None else []
        )
        assert points == sorted(points)
        assert all(LEFT <= point <= LEFT + WIDTH + 0.001 for point in points)
    assert len(drawn(results).ticks) <= 7


def test_a_lane_of_a_thousand_is_no_taller_than_a_screen() -> None:
    """Many rows become thin ones, without names and without lines between them."""
    (lane,) = drawn(paced(1000)).lanes
    assert len(lane.rows) == 1000
    assert lane.height < COMPACT_LANE + 50
    assert not lane.labelled
    assert lane.handovers == ()


def test_another_limit_hands_slots_on_at_another_time() -> None:
    """Whose slot came back is worked out from how long a slot is held."""
    quick = [created(0, 0), created(1, 4.5)]
    assert drawn(quick).lanes[0].handovers == ()
    assert len(drawn(quick, holds={ACME: Limit(per=2.0).hold}).lanes[0].handovers) == 1
