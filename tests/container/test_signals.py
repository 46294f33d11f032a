"""Process 1 of a container, told to stop at each state of its tasks: drained in time, and the same command makes the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.container.engine import HARDENED, Engine
from tests.container.pods import LIMIT
from tests.container.stops import (
    SIGNALS,
    SITUATIONS,
    TASKS,
    UNANSWERED,
    Case,
    Outcome,
    play,
    play_all,
)
from tests.support.server_log import creations, find_duplicates, most_in_any_window

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def outcomes(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Case, Future[Outcome]]]:
    """Every case, played once."""
    with play_all(engine, image, tmp_path_factory.mktemp("signals")) as played:
        yield played


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_run_that_is_told_to_stop_loses_nothing(
    outcomes: Mapping[Case, Future[Outcome]], name: str, signal: str
) -> None:
    """It ends within the time that it is given, with 5 and its last line; the same command makes the rest, nothing twice."""
    outcome = outcomes[name, signal].result()
    last = outcome.told.stderr.splitlines()[-1]
    print(f"{signal}, {name}, {outcome.seconds:.1f} s: {last}")
    assert outcome.told.code == 5, outcome.told
    assert ("stopped before anything was sent" if name == "planning" else "pending") in last
    counts = outcome.again.records[-1]["counts"]
    assert counts["created"] + counts["uncertain"] == TASKS, outcome.again.stderr
    assert (counts["uncertain"] > 0) == (name in UNANSWERED)
    assert outcome.again.code == (3 if name in UNANSWERED else 0), outcome.again.stderr
    assert len(creations(outcome.log)) == TASKS
    assert find_duplicates(outcome.log) == {}
    organizations = {entry.organization for entry in creations(outcome.log)}
    assert [
        most_in_any_window(outcome.log, str(one), SITUATIONS[name].period) <= LIMIT for one in organizations
    ] == [True]


def test_a_run_that_is_killed_is_carried_on(engine: Engine, image: str, tmp_path: Path) -> None:
    """SIGKILL while it waits for a slot: the same command makes the rest, and what was made is not made again."""
    outcome = play(engine, image, tmp_path / "killed", SITUATIONS["waiting for a slot"], "KILL")
    assert outcome.told.code == 137
    assert outcome.again.code == 0, outcome.again.stderr
    assert len(creations(outcome.log)) == TASKS
    assert find_duplicates(outcome.log) == {}


def test_the_time_that_a_container_is_given_to_stop_is_documented(engine: Engine) -> None:
    """Ten seconds, the engines' own, are too short for what is on the wire: the page names the option."""
    page = (Path(__file__).parents[2] / "docs" / "container.md").read_text("utf-8")
    assert "--stop-timeout 30" in page
    assert HARDENED[0] in page
