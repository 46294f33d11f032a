"""Plans of many snapshots: made and stored organization by organization, never there as a whole."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.api.catalog import ConfiguredTest
from orchestrator.core.jobs import CredentialSource, Job, JobFile, Organization, TestRef, WindowSpec, identity
from orchestrator.core.tasks import Run, Task
from orchestrator.planning.discovery import OrganizationSurvey
from orchestrator.planning.scheduler import Plan, make_plan
from orchestrator.planning.selection import Listing
from orchestrator.store.freezing import SOME
from orchestrator.store.store import open_store
from tests.support.clock import VirtualClock

BASE_URL = "https://api.example.com/v7"
NOON = 1_795_003_200.0
TESTS = 10


def plan_of(organizations: int, windows: int) -> Plan:
    """A plan of ten tests of each organization, over so many windows."""
    names = [f"org{number}" for number in range(organizations)]
    hours = (WindowSpec(end=f"2026-11-17T{at:02}:00:00Z", duration=3600.0) for at in range(windows))
    common = tuple(hours)
    jobs = tuple(
        Job(
            name=f"night {name}",
            organizations=(name,),
            tests=tuple(TestRef(id=str(test)) for test in range(TESTS)),
            windows=common,
        )
        for name in names
    )
    known = {name: Organization(name=name, credential=CredentialSource(env="T")) for name in names}
    tests = {str(test): ConfiguredTest(id=str(test), name=f"Test {test}") for test in range(TESTS)}
    surveys = {name: OrganizationSurvey(listings={"": Listing(tests=tests)}) for name in names}
    identities = {name: identity(BASE_URL, name=name) for name in names}
    return make_plan(JobFile(name="f", jobs=jobs, organizations=known), surveys, identities, now=NOON)


def count_alive() -> int:
    """Tasks that somebody still holds."""
    return sum(isinstance(one, Task) for one in gc.get_objects())


class Census:
    """The tasks of a plan, and the most of them that were alive at any look."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self.most = plan, 0
        self._others = count_alive()

    def __iter__(self) -> Iterator[Task]:
        for number, task in enumerate(self._plan):
            if number % 50 == 0:
                self.most = max(self.most, count_alive() - self._others)
            yield task


@pytest.mark.parametrize("organizations", [3, 12])
def test_a_plan_is_never_there_as_a_whole(tmp_path: Path, organizations: int) -> None:
    """The tasks of one organization and of one batch at the most, however many organizations there are."""
    windows = 12
    each = TESTS * windows
    plan = plan_of(organizations, windows)
    assert plan.asked == organizations * each
    census, store = Census(plan), open_store(str(tmp_path / "store.db"), clock=VirtualClock())
    run = store.runs.start(Run(id="r1", job="f"), census)
    store.close()
    assert run.tasks == organizations * each
    assert census.most <= SOME + 2 * each


def test_the_tasks_are_the_same_however_often_they_are_made() -> None:
    """What was checked before anything was stored is what is stored."""
    plan = plan_of(3, 2)
    assert list(plan) == list(plan)
    assert len({task.key for task in plan}) == plan.asked
