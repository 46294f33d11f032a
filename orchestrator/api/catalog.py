"""The lists of the API, account groups, tests, tags and alerts, and the token's user: typed, whatever else it may send.

Reads only. Entries without an id are left out; every other field may be missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

from orchestrator.api.response import (
    Answer,
    clean,
    describe_stranger,
    dig,
    explain,
    find_stranger,
    instant,
    parse_object,
    retry_after,
    text_id,
    text_of,
)
from orchestrator.core import USUAL_PORTS, Problem, TesnapError, Window, plural, utc_text

LISTS = {
    "/account-groups": "account groups",
    "/tests": "tests",
    "/tags": "tags",
    "/alerts": "alerts",
}
"""The lists that are read, by their path, as an error or a wait calls them."""

MOST_PAGES = 100
"""Pages of one list that are read before giving up, which is said: far more than any alert list has."""

MOST_ROLES = 10
"""Roles of one user that are read: nobody has more in one account group."""

PAGE_SIZE = 1000
"""Alerts asked for at once: the documents name no most of `max`. A server that refuses so many is asked without."""

_USER_KEYS = frozenset({"uid", "name", "email", "accountGroupRoles", "allAccountGroupRoles", "_links"})
"""The documented keys of a user: JSON with none of them, and not empty, is not the API's."""

_HINTS = {
    401: "The token is wrong, expired or revoked, or its account is locked after repeated failures.",
    403: "The token's user lacks the permission to read this, or does not belong to this account group.",
    404: "The base_url is not the API's, or this account group does not exist.",
}

_NO_LIST = "The answer is not the JSON that this list should be: check base_url."

Query = tuple[tuple[str, str], ...]


class Getter(Protocol):
    """A reader of one organization's API; paths count from `base_url`."""

    base_url: str

    def get(self, path: str, query: Query = ()) -> Answer:
        """One attempt at reading something."""


class CatalogError(TesnapError):
    """A list could not be read; `status` is its HTTP status, None when no readable answer came.

    `incomplete`: a part of it was read, and the rest cannot be. `cut_off`: the answer was not whole. `lasting`: the
    way to the API is refused until somebody changes something. `stranger` says who seems to answer in the API's
    place, if that is no answer of the API.
    """

    def __init__(
        self,
        what: str,
        problem: Problem,
        status: int | None,
        *,
        incomplete: bool = False,
        cut_off: bool = False,
        lasting: bool = False,
        stranger: str = "",
    ) -> None:
        self.reason = f"{problem.title}. {problem.detail}".strip()
        super().__init__(f"{what} could not be read: {self.reason}")
        self.status, self.incomplete, self.cut_off = status, incomplete, cut_off
        self.lasting, self.stranger = lasting, stranger


class AccountGroup(NamedTuple):
    """An account group that the token's user may use; `org_id` is the true key of the snapshot limit."""

    aid: str
    name: str = ""
    current: bool = False
    default: bool = False
    organization_name: str | None = None
    org_id: str | None = None


class ConfiguredTest(NamedTuple):
    """A test, or a saved event that looks like one. Times are epoch seconds."""

    id: str
    name: str = ""
    type: str = ""
    enabled: bool = True
    saved_event: bool = False
    created_at: float | None = None


class Tag(NamedTuple):
    """A tag, `key:value`, with the ids of the tests it is assigned to; of a dynamic one the API lists none."""

    id: str
    key: str = ""
    value: str = ""
    test_ids: tuple[str, ...] = ()
    dynamic: bool = False

    @property
    def text(self) -> str:
        """The tag as selectors write it."""
        return f"{self.key}:{self.value}" if self.key and self.value else self.key or self.value


class Alert(NamedTuple):
    """An alert of a test, active from `started_at` until `ended_at` (None: still active); epoch seconds."""

    id: str
    test_id: str
    type: str = ""
    started_at: float | None = None
    ended_at: float | None = None

    def within(self, window: Window) -> bool:
        """True if it was active at any moment of the window; unknown times count as such."""
        begun = self.started_at is None or self.started_at < window.end
        return begun and (self.ended_at is None or self.ended_at > window.start)


class TokenUser(NamedTuple):
    """The user of a token, by e-mail address or name if the API tells either, and the ids of their roles.

    `roles` are those in all account groups, `group_roles` those in one: (account group, role).
    """

    name: str | None
    roles: tuple[str, ...]
    group_roles: tuple[tuple[str | None, str], ...]

    def roles_in(self, aid: str) -> list[str]:
        """The roles in an account group ('': in any) and in all, `MOST_ROLES` of them at the most."""
        here = (role for group, role in self.group_roles if not aid or group == aid)
        return list(dict.fromkeys((*self.roles, *here)))[:MOST_ROLES]


def parse_user(answer: Answer) -> TokenUser | None:
    """The token's user by the answer to `GET /users/current`; None when it does not tell."""
    found = parse_object(answer.body) if answer.status == HTTPStatus.OK else None
    if found is None or (found and not _USER_KEYS & found.keys()):
        return None
    return TokenUser(
        name=text_of(found.get("email")) or text_of(found.get("name")),
        roles=_role_ids(found.get("allAccountGroupRoles")),
        group_roles=tuple(
            (text_id(dig(entry, "accountGroup", "aid")), role)
            for entry in _objects(found.get("accountGroupRoles"))
            for role in _role_ids(entry.get("roles"))
        ),
    )


def read_permissions(getter: Getter, role: str) -> frozenset[str] | None:
    """The labels of a role's permissions, in lower case; None when it cannot be read."""
    answer = getter.get(f"/roles/{role}")
    listed = dig(parse_object(answer.body), "permissions") if answer.status == HTTPStatus.OK else None
    if not isinstance(listed, list):
        return None
    labels = (text_of(one.get("label")) for one in _objects(listed))
    return frozenset(label.casefold() for label in labels if label)


def read_account_groups(getter: Getter) -> tuple[AccountGroup, ...]:
    """The account groups of the token's user."""
    found = _read(getter, "/account-groups", (), "accountGroups")
    return tuple(_account_group(aid, item) for aid, item in _with_ids(found, "aid"))


def read_tests(getter: Getter, aid: str | None) -> tuple[ConfiguredTest, ...]:
    """All configured tests of an account group (None: the token's own), and its saved events."""
    found = _read(getter, "/tests", _aid(aid), "tests")
    return tuple(_test(key, item) for key, item in _with_ids(found, "testId"))


def read_tags(getter: Getter, aid: str | None) -> tuple[Tag, ...]:
    """The tags of an account group with the tests they are assigned to."""
    found = _read(getter, "/tags", (*_aid(aid), ("expand", "assignments")), "tags")
    return tuple(_tag(key, item) for key, item in _with_ids(found, "id"))


def read_alerts(
    getter: Getter, aid: str | None, window: Window | None = None, *, now: float | None = None
) -> tuple[Alert, ...]:
    """The alerts of tests that are active; with a window, those that were so at any moment of it.

    `now` (epoch seconds) ends the range in which alerts that are over are looked for. The two states need a
    request each: the API applies its time filter to an alert's start in one and to its end in the other.
    """
    found = _read_alerts(getter, (*_aid(aid), ("state", "trigger")))
    if window is not None:
        since = ("startDate", utc_text(window.start))
        until = () if now is None else (("endDate", utc_text(max(now, window.end))),)
        found += _read_alerts(getter, (*_aid(aid), ("state", "clear"), since, *until))
    known = {alert.id: alert for alert in map(_alert, found) if alert is not None}
    return tuple(alert for alert in known.values() if window is None or alert.within(window))


def page_of(base_url: str, href: str) -> tuple[str, Query] | None:
    """The next page's path and query; None unless its address is below our own base URL, port and all."""
    try:
        ours, theirs = urlsplit(base_url), urlsplit(href)
        same = _origin(ours.scheme, ours.hostname, ours.port) == _origin(
            theirs.scheme, theirs.hostname, theirs.port
        )
    except ValueError:  # a port that is no number
        return None
    base = ours.path.rstrip("/") + "/"
    plain = (
        theirs.username is None and not {".", ".."} & set(theirs.path.split("/")) and "%" not in theirs.path
    )
    if not same or not plain or not theirs.path.startswith(base):
        return None
    return theirs.path[len(base) - 1 :], tuple(parse_qsl(theirs.query, keep_blank_values=True))


def _read_alerts(getter: Getter, query: Query) -> list[Mapping[str, Any]]:
    """Alerts on as few pages as the server will have it."""
    try:
        return list(_read(getter, "/alerts", (*query, ("max", str(PAGE_SIZE))), "alerts"))
    except CatalogError as error:
        if error.status != HTTPStatus.BAD_REQUEST:
            raise
    return list(_read(getter, "/alerts", query, "alerts"))


def _read(getter: Getter, path: str, query: Query, name: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, over all its pages; CatalogError when it goes on where it cannot be followed."""
    what = f"the {LISTS[path]}"
    asked, count = (path, query), 0
    seen: set[tuple[str, Query]] = set()
    while True:
        seen.add(asked)
        page = _check_page(getter.get(*asked), what, name)
        objects = _objects(page.get(name))
        count += len(objects)
        yield from objects
        href = dig(page, "_links", "next", "href")
        if not isinstance(href, str) or not href:
            return
        following = page_of(getter.base_url, href) or _page_behind_gateway((path, query), href)
        if following == asked:
            return
        why = _describe_dead_end(following, href, seen)
        if following is None or why:
            problem = Problem(title="The list is incomplete", detail=f"After {plural(count, 'item')} {why}.")
            raise CatalogError(what, problem, HTTPStatus.OK, incomplete=True)
        asked = following


def _check_page(answer: Answer, what: str, name: str) -> Mapping[str, Any]:
    """The object with the list of this name; CatalogError for anything else."""
    page = parse_object(answer.body)
    whole = answer.status == HTTPStatus.OK and answer.failure is None
    if page is not None and whole and (not page or name in page or "_links" in page):
        return page
    broken = page is None and answer.body.lstrip()[:1] == b"{"  # as the API's may be
    success = answer.failure is None and not broken and 200 <= (answer.status or 0) < 300
    stranger = describe_stranger(answer) if success else find_stranger(answer)
    problem = explain(answer, hint=_NO_LIST if whole else "" if stranger else _hint(answer))
    cut_off = answer.failure is not None
    raise CatalogError(
        what, problem, answer.status, cut_off=cut_off, lasting=answer.lasting, stranger=stranger
    )


def _hint(answer: Answer) -> str:
    """The end of an error's text: what its status means, or for how long the API asks to wait."""
    asked = retry_after(answer.headers) if answer.status == HTTPStatus.TOO_MANY_REQUESTS else None
    return f"The API asks to wait for {asked:.0f} s." if asked else _HINTS.get(answer.status or 0, "")


def _page_behind_gateway(first: tuple[str, Query], href: str) -> tuple[str, Query] | None:
    """The next page at our own address when its link names another host, as one behind a gateway does.

    The credential never goes there: what says where the page begins is asked of `base_url` instead. None unless
    the link is to the same list and says more than was asked for at first.
    """
    path, query = first
    try:
        theirs = urlsplit(href)
    except ValueError:
        return None
    known = {key for key, _ in query}
    more = [pair for pair in parse_qsl(theirs.query, keep_blank_values=True) if pair[0] not in known]
    return (path, (*query, *more)) if more and theirs.path.endswith(path) else None


def _describe_dead_end(
    following: tuple[str, Query] | None, href: str, seen: Collection[tuple[str, Query]]
) -> str:
    """The reason why the next page is not asked for; empty when it is."""
    if following is None:
        return f"its next page is at {_host(href)}, which is not below base_url"
    if following in seen:
        return "its pages lead back to one that was read before"
    if len(seen) >= MOST_PAGES:
        return f"it goes on after {MOST_PAGES} pages, and no more are read: take a shorter window, or one account group"
    return ""


def _host(href: str) -> str:
    """Where a link points, without what may be secret in it."""
    try:
        return clean(urlsplit(href).hostname or "the same host", 80)
    except ValueError:
        return "no address"


def _origin(scheme: str, host: str | None, port: int | None) -> tuple[str, str, int | None]:
    return scheme, (host or "").rstrip("."), port or USUAL_PORTS.get(scheme)


def _aid(aid: str | None) -> Query:
    return (("aid", aid),) if aid else ()


def _objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list that the API sent; none where it sent something else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _role_ids(roles: object) -> tuple[str, ...]:
    return tuple(role for role, _ in _with_ids(_objects(roles), "roleId"))


def _with_ids(items: Iterable[Mapping[str, Any]], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The items that have an id under this name, each behind it."""
    for item in items:
        if key := text_id(item.get(name)):
            yield key, item


def _account_group(aid: str, item: Mapping[str, Any]) -> AccountGroup:
    return AccountGroup(
        aid=aid,
        name=_text(item, "accountGroupName"),
        current=item.get("isCurrentAccountGroup") is True,
        default=item.get("isDefaultAccountGroup") is True,
        organization_name=_text(item, "organizationName") or None,
        org_id=text_id(item.get("orgId")),
    )


def _test(key: str, item: Mapping[str, Any]) -> ConfiguredTest:
    return ConfiguredTest(
        id=key,
        name=_text(item, "testName"),
        type=_text(item, "type"),
        enabled=item.get("enabled") not in (False, 0),
        saved_event=item.get("savedEvent") in (True, 1),
        created_at=instant(item.get("createdDate")),
    )


def _tag(key: str, item: Mapping[str, Any]) -> Tag:
    ids = (text_id(one.get("id")) for one in _objects(item.get("assignments")) if one.get("type") == "test")
    return Tag(
        id=key,
        key=_text(item, "key"),
        value=_text(item, "value"),
        test_ids=tuple(dict.fromkeys(test_id for test_id in ids if test_id)),
        dynamic=item.get("type") == "dynamic",
    )


def _alert(item: Mapping[str, Any]) -> Alert | None:
    """An alert of a test; None for one of something else, such as an Endpoint Agent."""
    key, test_id = text_id(item.get("id") or item.get("alertId")), _test_of(item)
    if key is None or test_id is None:
        return None
    return Alert(
        id=key,
        test_id=test_id,
        type=_text(item, "alertType") or _text(item, "type"),
        started_at=instant(item.get("startDate")),
        ended_at=instant(item.get("endDate")),
    )


def _test_of(item: Mapping[str, Any]) -> str | None:
    """The test's id: the last part of the link to it."""
    href = dig(item, "_links", "test", "href")
    if not isinstance(href, str):
        return text_id(item.get("testId"))
    path = href.partition("?")[0].partition("#")[0].rstrip("/")
    return path.rpartition("/")[2] or None


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    return value if isinstance(value, str) else ""
