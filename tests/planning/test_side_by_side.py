"""Look-ups side by side: as many at once as there are threads, and the same result as one after the other."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from orchestrator.api.catalog import Query
from orchestrator.api.response import Answer
from orchestrator.core.jobs import CredentialSource, Job, Organization, Select, WindowSpec
from orchestrator.core.tasks import Reason
from orchestrator.planning.discovery import OrganizationSurvey, survey_organization
from orchestrator.planning.side_by_side import GROUPS_AT_ONCE, ORGANIZATIONS_AT_ONCE, SideBySide
from orchestrator.simulator import Simulator, example_world
from tests.support.clock import VirtualClock
from tests.support.virtual import VirtualGetter

LONGEST = 120.0
"""Seconds after which something that should have happened is given up."""

ACME = Organization(name="acme", credential=CredentialSource(env="T"))
EVERYWHERE = Job(
    name="j",
    organizations=("acme",),
    windows=(WindowSpec(last=3600.0),),
    select=Select(tag=("team:*",), alerting=True),
    everywhere=True,
)


class Companions:
    """A getter whose lists of tests are answered only when so many of them are asked for at once."""

    def __init__(self, at_once: int, *, groups: int, refused: bool = False) -> None:
        world = example_world(1, 6, account_groups=groups)
        self._getter = VirtualGetter(Simulator(world), VirtualClock(), "token-1")
        self.base_url = self._getter.base_url
        self.seen: list[str] = []
        self._barrier, self._one, self._refused = threading.Barrier(at_once), threading.Lock(), refused

    def get(self, path: str, query: Query = ()) -> Answer:
        """The answer, when all are there."""
        if path == "/tests":
            self._barrier.wait(LONGEST)
        with self._one:
            self.seen.append(path)
            answer = self._getter.get(path, query)
        return replace(answer, status=401) if self._refused and path == "/tests" else answer


def survey(getter: Companions, lookups: SideBySide | None) -> OrganizationSurvey:
    return survey_organization(getter, ACME, [""], jobs=[EVERYWHERE], clock=VirtualClock(), lookups=lookups)


def test_what_is_found_comes_in_the_order_in_which_it_was_asked_for() -> None:
    """Each of them waits for the one after it."""
    done = [threading.Event() for _ in range(GROUPS_AT_ONCE)]

    def read(at: int) -> int:
        if at + 1 < len(done):
            assert done[at + 1].wait(LONGEST)
        done[at].set()
        return at

    with SideBySide() as lookups:
        assert lookups.read_each(read, range(GROUPS_AT_ONCE)) == list(range(GROUPS_AT_ONCE))


def test_whoever_reads_from_one_of_the_threads_goes_on_while_all_are_taken() -> None:
    """Every thread has an organization, and each of these has lists to read."""
    taken = threading.Barrier(ORGANIZATIONS_AT_ONCE)

    with SideBySide() as lookups:

        def look() -> OrganizationSurvey:
            taken.wait(LONGEST)
            notes = lookups.read_each(str, range(3))
            return OrganizationSurvey(notes=tuple(notes))

        surveys = [lookups.start(look) for _ in range(ORGANIZATIONS_AT_ONCE)]
        assert {one.result(LONGEST).notes for one in surveys} == {("0", "1", "2")}


@pytest.mark.parametrize("at_once", [2, 5])
def test_the_lists_of_account_groups_are_read_side_by_side(at_once: int) -> None:
    """So many are under way at once, in whatever order; all is found, and said, as one after the other."""
    groups = 2 * at_once
    alone, together = Companions(1, groups=groups), Companions(at_once, groups=groups)
    with SideBySide() as lookups:
        found = survey(together, lookups)
    assert found == survey(alone, None)
    assert list(found.listings) == list(survey(Companions(1, groups=groups), None).listings)
    assert sorted(together.seen) == sorted(alone.seen)


def test_after_a_refusal_no_other_list_is_asked_for() -> None:
    """A token that is refused is not shown forty times more."""
    getter = Companions(GROUPS_AT_ONCE, groups=5 * GROUPS_AT_ONCE, refused=True)
    with SideBySide() as lookups:
        found = survey(getter, lookups)
    assert (found.stopped, found.unauthorized) == (Reason.TOKEN_REFUSED, True)
    assert getter.seen == ["/account-groups", *["/tests"] * GROUPS_AT_ONCE]
