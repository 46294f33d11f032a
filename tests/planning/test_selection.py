"""Which tests a job means, given what the lists of its account groups say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.api.catalog import Alert, ConfiguredTest, Tag
from orchestrator.core.errors import AccessRefused, SelectionError
from orchestrator.core.jobs import (
    CredentialSource,
    Job,
    Organization,
    Select,
    TestRef,
    Window,
)
from orchestrator.core.starts import Success
from orchestrator.core.tasks import Reason
from orchestrator.planning.discovery import OrganizationSurvey
from orchestrator.planning.refusal import (
    check_lists,
    check_part,
    check_selection,
    describe_fewer,
    refuse_selections,
)
from orchestrator.planning.selection import (
    Listing,
    Scope,
    Selection,
    make_scope,
    select_tests,
    select_tests_by_organization,
)
from orchestrator.planning.unreadable import UnreadableCause, UnreadableList

ACME = Organization(name="acme", credential=CredentialSource(env="T"))

NOON = 1_795_003_200
HOUR = 3600
LAST_HOUR = Window(start=NOON - HOUR, end=NOON)

TESTS = (
    ConfiguredTest(id="1", name="Checkout EU", type="http-server"),
    ConfiguredTest(id="2", name="Checkout US", type="page-load"),
    ConfiguredTest(id="3", name="Login [eu]", type="http-server", enabled=False),
    ConfiguredTest(id="4", name="search", type="dns-server"),
    ConfiguredTest(id="9", name="Checkout, saved", type="http-server", saved_event=True),
)
TAGS = (
    Tag(id="a", key="team", value="payments", test_ids=("1", "2", "9")),
    Tag(id="b", key="team", value="core", test_ids=("4",)),
    Tag(id="c", key="os", value="linux", dynamic=True),
    Tag(id="d", key="old", value="unused"),
)
ALERTS = (
    Alert(id="x", test_id="4", started_at=NOON - 5 * HOUR, ended_at=NOON - 3000.0),
    Alert(id="y", test_id="2", started_at=NOON - 600.0),
    Alert(id="z", test_id="1", started_at=NOON - 9 * HOUR, ended_at=NOON - 8 * HOUR),
)


NO_TAGS = UnreadableList(
    of="tags", where="account group 7", because="Forbidden.", cause=UnreadableCause.FORBIDDEN
)
NO_ALERTS = UnreadableList(
    of="alerts", where="account group 7", because="No answer.", cause=UnreadableCause.UNREACHABLE
)


def listing(aid: str = "", **changes: Any) -> Listing:
    """An account group whose lists were all read."""
    whole = Listing(
        aid=aid,
        label=f"account group {aid or '7'}",
        tests={test.id: test for test in TESTS},
        tags=TAGS,
        alerts=ALERTS,
    )
    return dataclasses.replace(whole, **changes)


def job(**settings: Any) -> Job:
    """A job of one organization."""
    return Job(name="night", organizations=("acme",), **settings)


def chosen(asked: Job, *listings: Listing, moments: tuple[Window, ...] = (LAST_HOUR,)) -> Selection:
    """What the job means in these account groups."""
    known = {one.aid: one for one in listings or (listing(),)}
    return select_tests(asked, make_scope(asked, ACME, known), moments=moments)


def ids(choice: Selection) -> list[str]:
    """The ids of the tests that are meant."""
    return [one.id for one in choice.tests]


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (Select(test_name=("checkout",)), ["2", "1"]),
        (Select(test_name=("CHECK*us",)), ["2"]),
        (Select(test_name=("check*",)), ["2", "1"]),
        (Select(test_name=("eck*",)), []),
        (Select(test_name=("[eu]",)), ["3"]),
        (Select(test_name=("*[eu]",)), ["3"]),
        (Select(test_name=("?earch",)), ["4"]),
        (Select(type=("http-server",)), ["1", "3"]),
        (Select(type=("http-server", "dns-server")), ["4", "1", "3"]),
        (Select(tag=("team:payments",)), ["2", "1"]),
        (Select(tag=("Team:Payments",)), ["2", "1"]),
        (Select(tag=("team:*",)), ["4", "2", "1"]),
        (Select(tag=("team:pay",)), []),
        (Select(alerting=True), ["4", "2"]),
        (Select(alerting=False), ["1", "3"]),
        (Select(enabled=True), ["4", "2", "1"]),
        (Select(enabled=False), ["3"]),
        (Select(tag=("team:*",), type=("page-load",)), ["2"]),
        (Select(tag=("team:core",), type=("page-load",)), []),
    ],
)
def test_every_key_has_to_hold_and_any_of_its_values(select: Select, expected: list[str]) -> None:
    """Keys are an and, values an or; tests with alerts go first, the longest alerting before the others."""
    assert ids(chosen(job(select=select))) == expected


def test_saved_events_are_never_selected() -> None:
    """What looks like a test but is a saved event is left out by every selector."""
    assert "9" not in ids(chosen(job(select=Select(test_name=("*",)))))


def test_ids_go_first_as_typed_and_count_once() -> None:
    """`tests` and `select` together are a union in the documented order."""
    refs = (TestRef(id="3"), TestRef(id="1"))
    assert ids(chosen(job(tests=refs, select=Select(tag=("team:*",))))) == ["3", "1", "4", "2"]


@pytest.mark.parametrize(
    ("exclude", "expected"), [(("2",), ["1"]), (("*us",), ["1"]), (("eu",), ["2"]), (("404",), ["2", "1"])]
)
def test_what_is_excluded_is_not_meant(exclude: tuple[str, ...], expected: list[str]) -> None:
    """Digits exclude an id, anything else names."""
    assert ids(chosen(job(select=Select(test_name=("checkout",)), exclude=exclude))) == expected


def test_an_excluded_id_is_not_meant_even_when_typed() -> None:
    """`exclude` holds for `tests` too."""
    assert ids(chosen(job(tests=(TestRef(id="1"), TestRef(id="2")), exclude=("1",)))) == ["2"]


def test_an_alert_counts_in_any_of_the_windows() -> None:
    """A test whose alert was over before the last hour was alerting in an earlier window."""
    early = Window(start=NOON - 10 * HOUR, end=NOON - 9 * HOUR + 60)
    both = chosen(job(select=Select(alerting=True)), moments=(early, LAST_HOUR))
    assert ids(both) == ["1", "4", "2"]


def test_the_longest_alerting_goes_first_and_an_unknown_beginning_after_the_known() -> None:
    """The order is by the beginning of a test's earliest alert, then by name."""
    alerts = (
        Alert(id="p", test_id="1"),
        Alert(id="q", test_id="2", started_at=NOON - 60.0),
        Alert(id="r", test_id="4", started_at=NOON - 90.0),
        Alert(id="s", test_id="2", started_at=NOON - 120.0),
    )
    found = chosen(job(select=Select(alerting=True)), listing(alerts=alerts)).tests
    assert [(one.id, one.alerting_since) for one in found] == [
        ("2", NOON - 120.0),
        ("4", NOON - 90.0),
        ("1", None),
    ]


def test_an_alert_of_unknown_beginning_still_goes_before_none() -> None:
    """A test that is alerting, nobody knows since when, goes before those that are not."""
    alerts = (Alert(id="p", test_id="4"),)
    assert ids(chosen(job(select=Select(enabled=True)), listing(alerts=alerts))) == ["4", "1", "2"]


def test_a_job_that_looks_everywhere_finds_tests_in_their_account_groups() -> None:
    """Selected tests and typed ids carry the account group that has them, the own group's going first."""
    other = listing("2002", tests={"77": ConfiguredTest(id="77", name="Checkout AP")}, alerts=())
    asked = job(
        tests=(TestRef(id="77"), TestRef(id="88")), select=Select(test_name=("checkout us",)), everywhere=True
    )
    found = chosen(asked, listing(), other)
    assert [(one.id, one.account_group) for one in found.tests] == [("77", "2002"), ("88", ""), ("2", "")]
    assert any("88 is not in the list of tests of any account group" in note for note in found.notes)


def shared(aid: str, group_id: str, **changes: Any) -> Listing:
    """An account group that has the test 7, as another one has, too."""
    tests = {"7": ConfiguredTest(id="7", name="Shared")}
    plain = Listing(
        aid=aid, group_id=group_id, label=f"account group {group_id}", tests=tests, tags=(), alerts=()
    )
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize(("own", "other", "expected"), [("900", "1000", ""), ("1000", "900", "900")])
@pytest.mark.parametrize(
    "wanted", [{"select": Select(test_name=("shared",))}, {"tests": (TestRef(id="7"),)}], ids=["name", "id"]
)
def test_a_test_that_account_groups_share_is_one_and_belongs_to_the_lowest_id(
    wanted: dict[str, Any], own: str, other: str, expected: str
) -> None:
    """As a number, whichever of them is the credential's own; named and selected at once it is one, too."""
    groups = shared("", own), shared(other, other)
    both = {"select": Select(test_name=("shared",)), "tests": (TestRef(id="7"),)}
    for asked in (wanted, both):
        found = chosen(job(everywhere=True, **asked), *groups)
        assert [(one.id, one.account_group) for one in found.tests] == [("7", expected)]


def test_a_shared_test_has_the_tags_and_alerts_of_all_its_account_groups() -> None:
    """A tag of the one and an alert of the other select it, once."""
    tag = Tag(id="t", key="team", value="payments", test_ids=("7",))
    alert = Alert(id="a", test_id="7", started_at=NOON - 60.0)
    groups = shared("", "900", tags=(tag,)), shared("1000", "1000", alerts=(alert,))
    asked = job(select=Select(tag=("team:payments",), alerting=True), everywhere=True)
    (one,) = chosen(asked, *groups).tests
    assert (one.account_group, one.alerting_since, one.tags) == ("", NOON - 60.0, ("team:payments",))


def test_a_job_of_one_account_group_does_not_look_elsewhere() -> None:
    """Only a job that looks everywhere sees other account groups."""
    other = listing("2002", tests={"77": ConfiguredTest(id="77", name="Checkout AP")})
    assert "77" not in ids(chosen(job(select=Select(test_name=("checkout",))), listing(), other))


# -- what the user is told -------------------------------------------------------------------------------


def refused(asked: Job, *listings: Listing) -> str:
    """The error that says why nothing is meant."""
    with pytest.raises(SelectionError) as caught:
        check_selection(asked, {"acme": chosen(asked, *listings)})
    return str(caught.value)


def test_an_empty_selection_says_what_was_searched_and_what_is_near() -> None:
    """The error has the place, the number of tests, the account group and the nearest names."""
    text = refused(job(select=Select(test_name=("chekout",)), place="jobs.yaml:7:5"))
    assert text == (
        "jobs.yaml:7:5: no test matches, so nothing was sent: acme has 4 tests in account group 7: none with a"
        " name like 'chekout'; the nearest names are 'Checkout EU' and 'Checkout US'. `tesnap tests` lists all"
        " tests with their types and tags"
    )


def test_an_empty_selection_counts_each_key_alone() -> None:
    """With several keys it is seen which one is at fault."""
    text = refused(job(select=Select(type=("page-load",), tag=("team:core",))))
    assert "1 of type 'page-load', 1 with tag 'team:core', none with all of these" in text


def test_an_alert_that_nobody_has_is_named_with_its_span() -> None:
    """Nothing alerting is said with the time that was looked at."""
    text = refused(job(select=Select(alerting=True)), listing(alerts=()))
    assert "none with an alert active between 2026-11-18T11:00:00Z and 2026-11-18T12:00:00Z" in text


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("team:paymets", "there is no tag 'team:paymets': did you mean 'team:payments'?"),
        (
            "zzz:qqq",
            "there is no tag 'zzz:qqq' among 'team:payments', 'team:core', 'os:linux' and 'old:unused'",
        ),
        ("label:pay", "version 7 of the API has tags, not test labels; write the tag as key:value"),
        (
            "os:*",
            "'os:linux' is a dynamic tag, whose tests the API does not list, so none of them is selected",
        ),
        ("old:unused", "tag 'old:unused' is assigned to no test"),
    ],
)
def test_a_tag_that_matches_no_test_says_why(tag: str, words: str) -> None:
    """A misspelt, dynamic or unassigned tag and a label of former versions have their own words."""
    assert words in refused(job(select=Select(tag=(tag,))))
    both = chosen(job(select=Select(tag=(tag, "team:core"))))
    assert ids(both) == ["4"]
    assert [note for note in both.notes if words in note]


def test_an_account_group_without_tests_is_said_as_a_sentence() -> None:
    """With or without selectors; whoever only looks is not told that nothing was sent."""
    for select in (Select(), Select(test_name=("x",), alerting=True)):
        empty = {"acme": chosen(job(select=select), listing(tests={}))}
        with pytest.raises(SelectionError) as caught:
            check_selection(job(select=select), empty, looking=True)
        assert str(caught.value) == (
            "no test matches: acme has no test in account group 7. `tesnap tests` lists all tests with their types"
            " and tags"
        )


def test_only_near_tags_are_suggested() -> None:
    """Short words that merely look alike are other words."""
    tags = (Tag(id="a", key="empty", value="none", test_ids=("1",)),)
    assert "there is no tag 'nope' among 'empty:none'" in refused(
        job(select=Select(tag=("nope",))), listing(tags=tags)
    )


def test_everything_excluded_is_an_error_of_its_own() -> None:
    """It is said that tests matched and that all of them are excluded."""
    asked = job(select=Select(test_name=("checkout",)), exclude=("checkout",))
    assert "of which 2 match, and all of these are excluded" in refused(asked)
    assert "is also excluded" in refused(job(tests=(TestRef(id="1"),), exclude=("1",)))


def test_more_tests_than_allowed_are_refused_with_their_number() -> None:
    """`max_tests` counts in each organization of the job: the others of it are served."""
    asked = job(select=Select(test_name=("checkout",)), max_tests=1)
    with pytest.raises(SelectionError) as caught:
        check_selection(asked, {"acme": chosen(asked)})
    assert str(caught.value) == (
        "2 tests match, more than the 1 that --max-tests allows, so nothing was sent: look at them with"
        " `tesnap tests`, then narrow them down by tag, type or name, or set --max-tests to 2"
    )
    filed = dataclasses.replace(asked, place="jobs.yaml:7:5")
    with pytest.raises(
        SelectionError, match=r"^jobs\.yaml:7:5: 2 .* that max_tests allows.* set max_tests to 2$"
    ):
        check_selection(filed, {"acme": chosen(filed)})
    few = chosen(dataclasses.replace(filed, select=Select(test_name=("login",))))
    check_selection(filed, {"acme": chosen(filed), "other": few})
    assert reasons(filed, {"acme": chosen(filed), "other": few}) == {"acme": Reason.TOO_MANY_TESTS}


def reasons(asked: Job, selections: Mapping[str, Selection], **stopped: Reason) -> dict[str, Reason]:
    """Whom a job's selections refuse, and why."""
    surveys = {name: OrganizationSurvey(stopped=stopped.get(name), because="no token") for name in selections}
    return {one.name: one.reason for one in refuse_selections(asked, selections, surveys)}


def test_an_empty_selection_of_a_file_refuses_that_organization_alone() -> None:
    """At least one test, or as many as `min_tests` says; what is typed looks where the tests are."""
    filed = job(select=Select(test_name=("checkout",)), place="jobs.yaml:7:5")
    two, none = chosen(filed), chosen(filed, listing(tests={}))
    assert reasons(filed, {"acme": two, "other": none}) == {"other": Reason.TOO_FEW_TESTS}
    three = dataclasses.replace(filed, min_tests=3)
    assert reasons(three, {"acme": two, "other": none}) == dict.fromkeys(
        ("acme", "other"), Reason.TOO_FEW_TESTS
    )
    assert reasons(dataclasses.replace(filed, min_tests=0), {"acme": none}) == {}
    typed = dataclasses.replace(filed, place="")
    assert reasons(typed, {"acme": two, "other": none}) == {}
    assert reasons(typed, {"acme": none, "other": none}) == dict.fromkeys(
        ("acme", "other"), Reason.TOO_FEW_TESTS
    )


def test_too_few_tests_are_said_with_both_numbers() -> None:
    """So that nobody has to count; where nothing is named, how many there are."""
    filed = job(select=Select(test_name=("checkout",)), place="jobs.yaml:7:5", min_tests=3)
    with pytest.raises(SelectionError) as caught:
        check_selection(filed, {"acme": chosen(filed)})
    assert str(caught.value) == (
        "jobs.yaml:7:5: 2 tests match, fewer than the 3 that min_tests wants, so nothing was sent"
    )


def test_a_selection_that_could_not_be_made_refuses_with_its_cause() -> None:
    """A token that is missing, lists that are kept back or away; offline nobody looked, so nobody is refused."""
    filed = job(select=Select(test_name=("checkout",)), place="jobs.yaml:7:5")
    unread = chosen(filed, Listing(aid="7", label="account group 7"))
    assert reasons(filed, {"acme": unread}, acme=Reason.TOKEN_MISSING) == {"acme": Reason.TOKEN_MISSING}
    assert reasons(filed, {"acme": unread}) == {}
    for cause, reason in (
        (UnreadableCause.SERVER, Reason.API_UNREACHABLE),
        (UnreadableCause.FORBIDDEN, Reason.PERMISSION_REFUSED),
        (UnreadableCause.STRANGER, Reason.NOT_THE_API),
    ):
        missing = UnreadableList(of="tests", where="account group 7", because="no", cause=cause)
        lost = dataclasses.replace(unread, unreadable=(missing,))
        assert reasons(filed, {"acme": lost}) == {"acme": reason}


def test_a_tag_where_there_are_none_is_said_so() -> None:
    """An account group without any tag has nothing to name instead."""
    text = refused(job(select=Select(tag=("team:x",))), listing(tags=()))
    assert "there is no tag 'team:x', and no other tag either" in text


def test_a_state_that_no_test_has_is_said_as_a_sentence() -> None:
    """`enabled` counts like the other keys."""
    text = refused(job(select=Select(enabled=False, type=("voice",))))
    assert "none of type 'voice', " in text
    assert "1 disabled, none with all of these" in text


def test_one_organization_without_a_match_is_no_error_when_another_has_one() -> None:
    """A job over many organizations fails only when it means nothing in any of them."""
    asked = job(select=Select(test_name=("checkout",)))
    check_selection(asked, {"acme": chosen(asked), "other": chosen(asked, listing(tests={}))})


def test_disabled_tests_are_named() -> None:
    """A note says that a selected or typed test is disabled."""
    (selected,) = chosen(job(select=Select(test_name=("login",)))).notes
    assert selected == "acme: of the selected tests 3 (Login [eu]) is disabled and has no fresh data"
    (typed,) = chosen(job(tests=(TestRef(id="3"),))).notes
    assert typed == "acme: test 3 (Login [eu]) is disabled: it has no fresh data"


def test_lists_that_cannot_be_read_are_no_empty_selection() -> None:
    """The note says what is missing, and only a plan with nothing at all in it is refused."""
    asked = job(select=Select(tag=("team:core",)))
    unread = chosen(asked, listing(tags=None, unreadable=(NO_TAGS, NO_ALERTS)))
    assert unread.tests == ()
    (note,) = unread.notes
    assert note == (
        "acme: not every test can be selected: the tags of account group 7 cannot be read: Forbidden. Do this:"
        " have an administrator add 'View tags' to a role of the token's user (Account Settings > Users and Roles"
        " > Roles)"
    )
    check_selection(asked, {"acme": unread})
    with pytest.raises(AccessRefused, match="the tags of account group 7 cannot be read"):
        check_lists([unread])
    check_lists([unread, chosen(asked)])


def test_lists_that_are_not_needed_are_not_blamed() -> None:
    """Tags that cannot be read say nothing of alerts, which only sort."""
    unread = chosen(
        job(select=Select(tag=("team:core",))),
        listing(tags=None, alerts=None, unreadable=(NO_TAGS, NO_ALERTS)),
    )
    assert unread.unreadable == (NO_TAGS,)
    assert "alerts" not in unread.incomplete
    assert unread.unreadable_alerts == (NO_ALERTS,)


def test_an_organization_that_was_not_asked_is_no_empty_selection() -> None:
    """A stopped organization, or a plan made offline, has no lists: nothing is said to be wrong with them."""
    asked = job(select=Select(alerting=True))
    nothing = select_tests(asked, make_scope(asked, ACME, {}), moments=(LAST_HOUR,))
    check_selection(asked, {"acme": nothing})
    check_lists([nothing])


def test_alerts_that_only_sort_are_not_needed() -> None:
    """Without the alerts, tests selected by name go by name."""
    found = chosen(job(select=Select(test_name=("e",))), listing(alerts=None))
    assert ids(found) == ["1", "2", "3", "4"]


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
        "test 99 is in no list of acme and globex, so nothing was sent for it: correct the id, or name only its"
        " organization"
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


# -- a part of the job -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (("2",), ["2"]),
        (("checkout*",), ["1", "2"]),
        (("EU",), ["3", "1"]),
        (("4", "us"), ["4", "2"]),
        (("77",), []),
    ],
)
def test_of_a_part_only_those_tests_are_meant_that_are_like_it(
    only: tuple[str, ...], expected: list[str]
) -> None:
    """By id, by a part of the name or by a pattern, of those that the job names and of those that it selects."""
    asked = job(tests=(TestRef(id="3"), TestRef(id="4")), select=Select(test_name=("checkout",)))
    assert set(ids(chosen(asked))) >= set(expected)
    assert sorted(ids(chosen(dataclasses.replace(asked, only=only)))) == sorted(expected)


def test_a_part_refuses_no_organization_in_which_it_has_no_test() -> None:
    """But one whose lists cannot be read: nobody knows what is missing of it."""
    filed = job(select=Select(test_name=("checkout",)), place="jobs.yaml:7:5", min_tests=2, only=("login",))
    none = chosen(filed)
    assert ids(none) == []
    assert reasons(filed, {"acme": none, "other": none}) == {}
    assert reasons(filed, {"acme": none, "other": none}, other=Reason.TOKEN_MISSING) == {
        "other": Reason.TOKEN_MISSING
    }
    by_id = job(tests=(TestRef(id="1"),), only=("2",))
    assert reasons(by_id, {"acme": chosen(by_id)}, acme=Reason.TOKEN_MISSING) == {}


def test_a_part_without_any_test_is_an_error() -> None:
    """What is like nothing is most likely misspelt."""
    filed = job(select=Select(test_name=("checkout",)), only=("logim",))
    with pytest.raises(SelectionError, match="no test of the jobs is like 'logim', so nothing was sent"):
        check_part([filed], [], [])
    check_part([dataclasses.replace(filed, only=())], [], [])


# -- less than there was -----------------------------------------------------------------------------------


def test_less_than_half_of_the_last_success_is_said() -> None:
    """With both numbers, for each organization; half of it, and more than there was, are not worth a word."""
    before = {
        "acme": Success(at=1.0, tasks=4),
        "globex": Success(at=1.0, tasks=7),
        "new": Success(at=1.0, tasks=1),
    }
    (told,) = describe_fewer({"acme": 2, "globex": 3, "new": 9}, before)
    assert told.startswith(
        "less than half of the snapshots that the last successful run had (globex: 3 of 7)"
    )
    assert list(describe_fewer({"acme": 2, "globex": 4, "new": 1}, before)) == []
    (gone,) = describe_fewer({"acme": 2, "globex": 4}, before)
    assert "new: 0 of 1" in gone
