"""Which of a job's organizations an id that was typed is of."""

from __future__ import annotations

from typing import Any

from orchestrator.api.catalog import ConfiguredTest
from orchestrator.core.jobs import Job, TestRef, Window
from orchestrator.planning.job_tests import Scope, select_tests_by_organization
from orchestrator.planning.selection import Listing

LAST_HOUR = Window(start=1_794_999_600, end=1_795_003_200)
OWN = {"1": ConfiguredTest(id="1", name="Checkout EU")}
OTHER = {"77": ConfiguredTest(id="77", name="Checkout AP")}
UNREAD = Listing(label="account group 7")


def scopes(**listings: Listing) -> list[Scope]:
    """Organizations with one account group each."""
    return [Scope(organization=name, listings=(one,)) for name, one in listings.items()]


def meant(asked: Job, known: list[Scope]) -> dict[str, list[str]]:
    """The ids of the tests that are meant in each organization; a refused one has a minus."""
    selections = select_tests_by_organization(asked, known, moments=(LAST_HOUR,))
    return {
        name: [f"-{test.id}" if test.refusal else test.id for test in one.tests]
        for name, one in selections.items()
    }


def several(*refs: str, **settings: Any) -> Job:
    """A job of two organizations."""
    return Job(
        name="night",
        organizations=("acme", "globex"),
        tests=tuple(TestRef(id=ref) for ref in refs),
        **settings,
    )


def test_an_id_goes_only_where_a_list_has_it() -> None:
    """No organization is asked for the test of another one."""
    known = scopes(acme=Listing(tests=OWN), globex=Listing(tests=OTHER))
    assert meant(several("1", "77"), known) == {"acme": ["1"], "globex": ["77"]}
    notes = [
        note
        for one in select_tests_by_organization(several("1", "77"), known, moments=()).values()
        for note in one.notes
    ]
    assert notes == []


def test_an_id_that_no_list_has_is_refused() -> None:
    """It is said where it was looked for, and how to send it all the same."""
    known = scopes(acme=Listing(tests=OWN), globex=Listing(tests=OTHER))
    assert meant(several("99", "1"), known) == {"acme": ["-99", "1"], "globex": []}
    (lost, _) = select_tests_by_organization(several("99", "1"), known, moments=())["acme"].tests
    assert lost.refusal == (
        "test 99 is in no list of acme and globex, so it was sent to nobody: correct the id, or name its organization"
        " alone"
    )
    assert meant(several("99", "1", exclude=("99",)), known) == {"acme": ["1"], "globex": []}


def test_an_id_that_no_list_has_may_be_of_the_only_one_that_was_not_read() -> None:
    """Of two organizations without lists nobody knows which it is; where there is no list at all, nothing is known."""
    one = scopes(acme=Listing(tests=OWN), globex=UNREAD)
    assert meant(several("99"), one) == {"acme": [], "globex": ["99"]}
    two = scopes(dark=UNREAD, acme=Listing(tests=OWN), globex=UNREAD)
    assert meant(several("99"), two) == {"dark": [], "acme": ["-99"], "globex": []}
    (lost,) = select_tests_by_organization(several("99"), two, moments=())["acme"].tests
    assert "no list of acme (those of dark and globex could not be read)" in (lost.refusal or "")
    assert meant(several("99"), scopes(dark=UNREAD, globex=UNREAD)) == {"dark": ["99"], "globex": ["99"]}


def test_with_one_organization_an_id_that_its_list_has_not_is_sent_all_the_same() -> None:
    """A test may be hidden from the token; that the API may answer 404 is said."""
    known = scopes(acme=Listing(tests=OWN))
    assert meant(several("99"), known) == {"acme": ["99"]}
    (note,) = select_tests_by_organization(several("99"), known, moments=())["acme"].notes
    assert note.startswith("acme: test 99 is not in the list of tests")
