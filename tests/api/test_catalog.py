"""What the API lists, as typed values, whatever else it sends."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import catalog
from orchestrator.api.catalog import (
    MOST_PAGES,
    PAGE_SIZE,
    AccountGroup,
    Alert,
    CatalogError,
    ConfiguredTest,
    Getter,
    Query,
    Tag,
    page_of,
    read_account_groups,
    read_alerts,
    read_tags,
)
from orchestrator.api.response import Answer
from orchestrator.core.jobs import Window

BASE = "https://api.thousandeyes.com/v7"


class Shelf:
    """A getter that gives out what lies on it, in order, and notes what it was asked for."""

    def __init__(self, *pages: object, base_url: str = BASE) -> None:
        self.base_url = base_url
        self._pages = [page if isinstance(page, Answer) else ok(page) for page in pages]
        self.asked: list[tuple[str, Query]] = []

    def get(self, path: str, query: Query = ()) -> Answer:
        self.asked.append((path, query))
        return self._pages[min(len(self.asked), len(self._pages)) - 1]


def ok(body: object) -> Answer:
    return Answer(sent=True, status=200, body=json.dumps(body).encode())


MAX = ("max", str(PAGE_SIZE))

READS: list[Callable[[Getter], object]] = [
    read_account_groups,
    lambda getter: catalog.read_tests(getter, None),
    lambda getter: read_tags(getter, None),
    lambda getter: read_alerts(getter, None),
]


def test_account_groups_are_read() -> None:
    """Ids are text, whatever they come as; the organization's is the true key of the limit."""
    shelf = Shelf(
        {
            "accountGroups": [
                {
                    "aid": "1234",
                    "accountGroupName": "A",
                    "isCurrentAccountGroup": True,
                    "orgId": 9,
                    "organizationName": "Acme",
                },
                {"aid": 5678, "isDefaultAccountGroup": True, "orgId": "9"},
                {"accountGroupName": "no aid"},
            ]
        }
    )
    found = read_account_groups(shelf)
    assert found == (
        AccountGroup(aid="1234", name="A", current=True, organization_name="Acme", org_id="9"),
        AccountGroup(aid="5678", default=True, org_id="9"),
    )
    assert shelf.asked == [("/account-groups", ())]


def test_tests_and_saved_events_are_read() -> None:
    """All at once, of one account group."""
    shelf = Shelf(
        {
            "tests": [
                {
                    "testId": 202701,
                    "testName": "Checkout",
                    "type": "http-server",
                    "interval": 300,
                    "createdDate": "2023-06-06 00:00:00",
                },
                {"testId": "2", "testName": "event", "savedEvent": True, "enabled": False},
                {"testId": "", "testName": "no id"},
            ]
        }
    )
    assert catalog.read_tests(shelf, "1234") == (
        ConfiguredTest(
            id="202701",
            name="Checkout",
            type="http-server",
            created_at=1686009600.0,
        ),
        ConfiguredTest(id="2", name="event", saved_event=True, enabled=False),
    )
    assert shelf.asked == [("/tests", (("aid", "1234"),))]


def test_tags_have_the_tests_they_are_assigned_to() -> None:
    """Other kinds of objects are left out."""
    assignments = [
        {"id": "1", "type": "test"},
        {"id": 2, "type": "test"},
        {"id": "3", "type": "dashboard"},
        None,
        {"type": "test"},
    ]
    shelf = Shelf(
        {
            "tags": [
                {"id": "t", "key": "team", "value": "payments", "assignments": assignments},
                {"id": "u", "key": "x"},
            ]
        }
    )
    found = read_tags(shelf, "1234")
    assert found == (Tag(id="t", key="team", value="payments", test_ids=("1", "2")), Tag(id="u", key="x"))
    assert [tag.text for tag in found] == ["team:payments", "x"]
    assert shelf.asked == [("/tags", (("aid", "1234"), ("expand", "assignments")))]


def alert(key: str, test: str, **more: object) -> dict[str, object]:
    return {"id": key, "_links": {"test": {"href": f"{BASE}/tests/http-server/{test}?aid=1"}}, **more}


def test_alerts_name_their_test_by_its_link() -> None:
    """The id is the last part of the link; alerts of other things are left out."""
    shelf = Shelf(
        {"alerts": [alert("a", "11", alertType="HTTP Server", startDate="2023-06-06T00:00:00Z"), {"id": "b"}]}
    )
    assert read_alerts(shelf, "1") == (
        Alert(id="a", test_id="11", type="HTTP Server", started_at=1686009600.0),
    )
    assert shelf.asked == [("/alerts", (("aid", "1"), ("state", "trigger"), MAX))]


def test_alerts_of_a_window_are_those_active_at_any_moment_of_it() -> None:
    """Still active ones that started before its end, and cleared ones that ended after its start."""
    window = Window(start=1686009600, end=1686013200)
    active = [
        alert("early", "1", startDate="2023-06-01T00:00:00Z"),
        alert("late", "2", startDate="2023-06-07T00:00:00Z"),
    ]
    cleared = [
        alert("within", "3", startDate="2023-06-06T00:10:00Z", endDate="2023-06-06T00:20:00Z"),
        alert("after", "4", startDate="2023-06-06T02:00:00Z", endDate="2023-06-06T03:00:00Z"),
        alert("before", "5", startDate="2023-06-05T02:00:00Z", endDate="2023-06-06T00:00:00Z"),
    ]
    shelf = Shelf({"alerts": active}, {"alerts": cleared})
    assert [one.id for one in read_alerts(shelf, None, window, now=1686020000)] == ["early", "within"]
    assert shelf.asked[1][1] == (
        ("state", "clear"),
        ("startDate", "2023-06-06T00:00:00Z"),
        ("endDate", "2023-06-06T02:53:20Z"),
        MAX,
    )


def test_pages_are_followed() -> None:
    """The next link of one page is the path and query of the next request."""
    first = {"alerts": [alert("a", "1")], "_links": {"next": {"href": f"{BASE}/alerts?aid=1&cursor=x%3D%3D"}}}
    shelf = Shelf(first, {"alerts": [alert("b", "2")]})
    assert [one.id for one in read_alerts(shelf, "1")] == ["a", "b"]
    assert shelf.asked[1] == ("/alerts", (("aid", "1"), ("cursor", "x==")))


def test_pages_that_go_round_in_circles_end() -> None:
    """A page that names itself is the last one."""
    page = {"alerts": [alert("a", "1")], "_links": {"next": {"href": f"{BASE}/alerts?cursor=x"}}}
    shelf = Shelf(page)
    assert len(read_alerts(shelf, None)) == 1
    assert len(shelf.asked) == 2


def test_pages_that_lead_back_leave_the_list_incomplete() -> None:
    """Two pages that name each other say of neither that it is the last one."""
    there, back = ({"alerts": [], "_links": {"next": {"href": f"{BASE}/alerts?cursor={n}"}}} for n in "xy")
    with pytest.raises(CatalogError, match=r"incomplete.*lead back to one that was read before"):
        read_alerts(Shelf(there, back, there), None)


def test_pages_are_bounded_and_the_bound_is_said() -> None:
    """A list that never ends is read up to a number of pages, and is no list then."""
    pages = [
        {"alerts": [alert(str(n), "1")], "_links": {"next": {"href": f"{BASE}/alerts?cursor={n}"}}}
        for n in range(MOST_PAGES + 5)
    ]
    shelf = Shelf(*pages)
    with pytest.raises(CatalogError, match=f"After {MOST_PAGES} items it goes on") as caught:
        read_alerts(shelf, None)
    assert len(shelf.asked) == MOST_PAGES
    assert caught.value.incomplete


def test_as_many_pages_as_are_read_are_no_trouble() -> None:
    """A list that ends on the last page that is read is whole."""
    pages: list[object] = [
        {"alerts": [alert(str(n), "1")], "_links": {"next": {"href": f"{BASE}/alerts?cursor={n}"}}}
        for n in range(MOST_PAGES - 1)
    ]
    assert len(read_alerts(Shelf(*pages, {"alerts": [alert("last", "1")]}), None)) == MOST_PAGES


def test_a_server_that_takes_no_large_pages_is_asked_for_its_own() -> None:
    """A refused `max` costs one request and not the list."""
    shelf = Shelf(Answer(sent=True, status=400), {"alerts": [alert("a", "1")]})
    assert [one.id for one in read_alerts(shelf, "1")] == ["a"]
    assert shelf.asked[1] == ("/alerts", (("aid", "1"), ("state", "trigger")))


@pytest.mark.parametrize(
    "href",
    [
        "http://api.internal:8080/v7/alerts?state=trigger&aid=1&cursor=x%3D%3D",
        "https://evil.example/alerts?cursor=x%3D%3D&aid=666",
        "https://api.thousandeyes.com@evil.example/v7/alerts?cursor=x%3D%3D",
        "//api.thousandeyes.com/v7/alerts?cursor=x%3D%3D",
        "/v7/alerts?cursor=x%3D%3D",
    ],
)
def test_a_page_behind_a_gateway_is_asked_of_our_own_address(href: str) -> None:
    """The link's host never gets the credential; its cursor goes to the base URL, with the account group asked for."""
    first = {"alerts": [alert("a", "1")], "_links": {"next": {"href": href}}}
    shelf = Shelf(first, {"alerts": [alert("b", "2")]})
    assert [one.id for one in read_alerts(shelf, "1")] == ["a", "b"]
    assert shelf.asked[1] == ("/alerts", (("aid", "1"), ("state", "trigger"), MAX, ("cursor", "x==")))


def test_a_third_page_behind_a_gateway_goes_on_from_the_second() -> None:
    """Each page's own cursor counts."""
    hrefs = [f"http://inside/v7/alerts?cursor={n}" for n in "xy"]
    pages = [{"alerts": [alert(h[-1], "1")], "_links": {"next": {"href": h}}} for h in hrefs]
    shelf = Shelf(*pages, {"alerts": [alert("z", "1")]})
    assert len(read_alerts(shelf, None)) == 3
    assert [dict(query).get("cursor") for _, query in shelf.asked] == [None, "x", "y"]


@pytest.mark.parametrize(
    "href",
    [
        "https://evil.example/v7/alerts",
        "https://evil.example/v7/alerts?aid=1&state=trigger",
        "https://evil.example/v7/admin?cursor=1",
        "http://api.thousandeyes.com/v7/alerts",
        "https://api.thousandeyes.com:8443/v7/alerts",
        "https://api.thousandeyes.com/v6/alerts",
        "https://api.thousandeyes.com/v70/alerts",
        "https://api.thousandeyes.com/v7/../admin",
        "https://api.thousandeyes.com/v7/%2e%2e/admin",
        "https://api.thousandeyes.com@evil.example/v7/alerts",
        "https://me:pw@api.thousandeyes.com/v7/alerts",
        "https://api.thousandeyes.com:x/v7/alerts",
        "https://[evil/v7/alerts?cursor=1",
        "//api.thousandeyes.com/v7/alerts",
        "https://api.thousandeyes.com",
    ],
)
def test_a_link_to_anywhere_else_is_not_followed_and_said(href: str) -> None:
    """The credential goes to our own base URL alone, and a list whose rest cannot be read is none."""
    assert page_of(BASE, href) is None
    shelf = Shelf({"alerts": [alert("a", "1")], "_links": {"next": {"href": href}}})
    with pytest.raises(CatalogError, match="After 1 item its next page is at"):
        read_alerts(shelf, "1")
    assert len(shelf.asked) == 1


@pytest.mark.parametrize("following", [None, "", {"href": ""}, {"href": None}, {}])
def test_a_page_without_a_link_is_the_last(following: object) -> None:
    """An empty link is none."""
    assert read_alerts(Shelf({"alerts": [], "_links": {"next": following}}), None) == ()


@pytest.mark.parametrize(
    "href", [f"{BASE}/alerts?cursor=1", "https://API.thousandeyes.com:443/v7/alerts?cursor=1"]
)
def test_the_same_place_may_be_written_differently(href: str) -> None:
    """The default port and the case of a host make no difference."""
    assert page_of(BASE, href) == ("/alerts", (("cursor", "1"),))


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (Answer(sent=False, failure="connection refused by x:1"), None, "Connection refused by x:1."),
        (Answer(sent=True, status=401, body=b'{"error": "invalid_token"}'), 401, "invalid_token"),
        (Answer(sent=True, status=403), 403, "permission"),
        (Answer(sent=True, status=429), 429, "Too many requests"),
        (Answer(sent=True, status=200, body=b"<html><title>Log in</title>"), 200, "Log in"),
        (Answer(sent=True, status=200, body=b"[]"), 200, "check base_url"),
        (
            Answer(sent=True, status=200, body=b'{"tests": [', failure="the answer was cut off"),
            200,
            "cut off",
        ),
        (Answer(sent=True, status=204), 204, "HTTP status 204"),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error(
    read: Callable[[Getter], object], answer: Answer, status: int | None, says: str
) -> None:
    """It says what could not be read and why, and has the status."""
    with pytest.raises(CatalogError, match="could not be read") as caught:
        read(Shelf(answer))
    assert caught.value.status == status
    assert says in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "id",
        "aid",
        "testId",
        "testName",
        "type",
        "enabled",
        "createdDate",
        "assignments",
        "_links",
        "startDate",
        "interval",
    ]
)


@given(items=JSON | st.lists(st.dictionaries(NAMES, JSON, max_size=5) | JSON, max_size=3))
def test_no_list_breaks_the_reading(items: object) -> None:
    """Missing, null and extra fields, and fields of another kind, are read without an error."""
    for read in READS:
        read(Shelf(dict.fromkeys(("accountGroups", "tests", "tags", "alerts"), items)))
