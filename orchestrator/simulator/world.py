"""The pretend tenant: who exists, what they may do, and what they have configured."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from typing import Any

CREATE_SNAPSHOTS = "Create snapshot shares"  # the name in the published document
VIEW_TESTS = "View tests"
VIEW_TAGS = "View tags"
VIEW_ALERTS = "View alerts"
ALL_PERMISSIONS = (CREATE_SNAPSHOTS, VIEW_TESTS, VIEW_TAGS, VIEW_ALERTS)

EXAMPLE_TIME = 1_795_000_000.0  # November 2026; alerts of an example world lie around it
_LONG_AGO = 1_767_225_600.0  # 1 January 2026

_SPACE = uuid.UUID("6d6f7274-0000-4000-8000-74656e616e74")  # any fixed one: ids repeat from run to run
_TYPES = ("http-server", "page-load", "agent-to-server", "dns-server")
_NAMES = ("Checkout", "Login", "Search", "Payment")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantTest:
    """A test; an endpoint test is not listed by GET /tests and cannot be snapshotted."""

    test_id: str
    name: str
    type: str = "http-server"
    interval: int = 300
    enabled: bool = True
    saved_event: bool = False
    alerts_enabled: bool = True
    created: float = _LONG_AGO
    endpoint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantTag:
    """`key:value`, assigned to tests; the API never lists the assignments of a dynamic one."""

    tag_id: str
    key: str
    value: str
    tests: tuple[str, ...] = ()
    dynamic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantAlert:
    """An alert of a test, active from `start` until `end` (epoch seconds; None: still active)."""

    alert_id: str
    test_id: str
    start: float
    end: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantGroup:
    """A part of an organization, with its own tests."""

    aid: str
    name: str
    default: bool = False
    tests: tuple[TenantTest, ...] = ()
    tags: tuple[TenantTag, ...] = ()
    alerts: tuple[TenantAlert, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An organization: the snapshot limit counts for it; `limit` and `period` where it has one of its own."""

    org_id: str
    name: str
    account_groups: tuple[TenantGroup, ...] = ()
    limit: int | None = None
    period: float | None = None  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantBearer:
    """An API token: whose it is and what it opens (`aids` empty: every account group)."""

    token: str = field(repr=False)
    name: str
    org_id: str
    user: str = "user@example.com"
    aids: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ALL_PERMISSIONS
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that exists, and how the server reads what its documents leave open."""

    organizations: tuple[Tenant, ...] = ()
    bearers: tuple[TenantBearer, ...] = ()
    public_is_saved_event: bool = True  # version 7's text; version 6 said the opposite
    share_links_allowed: bool = True  # some regions answer 403
    shows_org_id: bool = True  # `orgId` is optional in GET /account-groups
    aligns_rounds: bool = False  # startRoundId and endRoundId fall on the test's interval
    sends_retry_after: bool = False  # no document declares it for the snapshot limit
    clock_offset: float = 0.0  # how far the server's clock is ahead, in seconds
    page_size: int = 50  # of GET /alerts, however much more `max` asks for
    link_host: str = ""  # what links to further pages name instead of our own host, as behind a gateway


_PARTS: dict[str, type] = {
    "organizations": Tenant,
    "bearers": TenantBearer,
    "account_groups": TenantGroup,
    "tests": TenantTest,
    "tags": TenantTag,
    "alerts": TenantAlert,
}
"""The class of the values in each list of a world's file."""


def example_world(
    organizations: int = 1,
    tests: int = 3,
    *,
    account_groups: int = 1,
    tokens: int = 1,
    now: float = EXAMPLE_TIME,
    **switches: Any,
) -> World:
    """N organizations with M tests in each account group and `tokens` tokens each.

    Tokens are `token-1` for the first organization, `token-2` for the second; further ones of an
    organization are `token-1-2`, `token-1-3`. Test ids count up from 202701 over everything, aids
    from 2001, orgIds from 1001.
    """
    parts = [_example_organization(n, tests, account_groups, now) for n in range(organizations)]
    bearers = [bearer for n, part in enumerate(parts) for bearer in _example_bearers(n, part, tokens)]
    return World(organizations=tuple(parts), bearers=tuple(bearers), **switches)


def known_tenant(
    name: str,
    token: str,
    *,
    org_id: str = "",
    tests: Mapping[str, Iterable[str]] | None = None,
    test_names: Sequence[str] = (),
    types: Sequence[str] = (),
    tags: Sequence[str] = (),
    alerting_since: float | None = None,
) -> tuple[Tenant, TenantBearer]:
    """An organization in which everything that a job file asks for exists.

    `tests` maps an aid ("" for the token's default one) to the test ids in it. Selectors find one more
    test for each pair of `test_names` (patterns too) and `types`, in every account group. Every test
    carries every tag (`key:value`) and, with `alerting_since` (epoch seconds), an active alert.
    """
    org_id = org_id or str(uuid.uuid5(_SPACE, name).int % 10**6)
    ids_by_aid = tests or {"": ()}
    default = "" if "" in ids_by_aid else next(iter(ids_by_aid))
    groups: list[TenantGroup] = []
    for aid, ids in ids_by_aid.items():
        own = aid or f"{org_id}0"
        named = [TenantTest(test_id=i, name=f"Test {i}") for i in dict.fromkeys(ids)]
        found = _selectable_tests(own, test_names, types) if test_names or types or tags else ()
        groups.append(_group(own, [*named, *found], tags, alerting_since, default=aid == default))
    organization = Tenant(org_id=org_id, name=name, account_groups=tuple(groups))
    return organization, TenantBearer(token=token, name=name, org_id=org_id)


def world_of(parts: Iterable[tuple[Tenant, TenantBearer]], **switches: Any) -> World:
    """A world of the organizations made by `known_tenant`; those with one orgId become one."""
    tenants, organizations = list(parts), dict[str, Tenant]()
    for part, _ in tenants:
        known = organizations.get(part.org_id)
        organizations[part.org_id] = _unite_tenants(known, part) if known else part
    bearers = tuple(bearer for _, bearer in tenants)
    return World(organizations=tuple(organizations.values()), bearers=bearers, **switches)


def world_to_json(world: World) -> str:
    """The world as a file for `python -m orchestrator.simulator --world`."""
    return json.dumps(asdict(world), indent=1)


def world_from_json(text: str) -> World:
    """Read a world from its file; ValueError names a key that no world has."""
    world: World = _build(World, json.loads(text))
    return world


def _example_organization(n: int, tests: int, account_groups: int, now: float) -> Tenant:
    groups = []
    for g in range(account_groups):
        place = n * account_groups + g
        ids = range(202701 + place * tests, 202701 + (place + 1) * tests)
        made = [_example_test(i, number) for i, number in enumerate(ids)]
        groups.append(_example_group(str(2001 + place), made, now, default=g == 0))
    return Tenant(org_id=str(1001 + n), name=f"org-{n + 1}", account_groups=tuple(groups))


def _example_test(i: int, number: int) -> TenantTest:
    name = f"{_NAMES[i % len(_NAMES)]} {i + 1}"
    return TenantTest(test_id=str(number), name=name, type=_TYPES[i % len(_TYPES)])


def _example_group(aid: str, tests: list[TenantTest], now: float, *, default: bool) -> TenantGroup:
    """Every second test is the payments team's; the first is alerting, the second was."""
    ids = [test.test_id for test in tests]
    tags = (
        TenantTag(tag_id=_id(aid, "team"), key="team", value="payments", tests=tuple(ids[::2])),
        TenantTag(tag_id=_id(aid, "os"), key="os", value="linux", tests=tuple(ids), dynamic=True),
    )
    ends = (None, now - 3600)
    alerts = tuple(
        TenantAlert(alert_id=_id(aid, "alert", i), test_id=i, start=now - 7200, end=end)
        for i, end in zip(ids, ends, strict=False)
    )
    name = f"Group {aid}"
    return TenantGroup(aid=aid, name=name, default=default, tests=tuple(tests), tags=tags, alerts=alerts)


def _example_bearers(n: int, organization: Tenant, tokens: int) -> list[TenantBearer]:
    names = [f"token-{n + 1}" + (f"-{k}" if k > 1 else "") for k in range(1, tokens + 1)]
    return [TenantBearer(token=name, name=name, org_id=organization.org_id) for name in names]


def _selectable_tests(aid: str, names: Sequence[str], types: Sequence[str]) -> Iterable[TenantTest]:
    """Tests that selectors will find, one for each name and type."""
    for name, kind in product(names or _NAMES[:3], types or _TYPES[:1]):
        number = uuid.uuid5(_SPACE, f"{aid}/{name}/{kind}").int % 10**9
        yield TenantTest(test_id=str(number), name=_example_match(name), type=kind)


def _example_match(pattern: str) -> str:
    """A name that a pattern with `*` and `?` matches."""
    return pattern.replace("*", "").replace("?", "x") or "Test"


def _unite_tenants(one: Tenant, other: Tenant) -> Tenant:
    """One organization with the account groups of both; the first one's default stays."""
    groups = {group.aid: group for group in one.account_groups}
    for group in other.account_groups:
        known = groups.get(group.aid) or TenantGroup(aid=group.aid, name=group.name)
        tests = {test.test_id: test for test in (*known.tests, *group.tests)}
        tags, alerts = (*known.tags, *group.tags), (*known.alerts, *group.alerts)
        groups[group.aid] = replace(known, tests=tuple(tests.values()), tags=tags, alerts=alerts)
    return replace(one, account_groups=tuple(groups.values()))


def _group(
    aid: str, tests: list[TenantTest], tags: Sequence[str], alerting_since: float | None, *, default: bool
) -> TenantGroup:
    ids = tuple(test.test_id for test in tests)
    pairs = [tag.partition(":") for tag in tags]
    made = tuple(TenantTag(tag_id=_id(aid, k, v), key=k, value=v, tests=ids) for k, _, v in pairs)
    alerting = ids if alerting_since is not None else ()
    alerts = tuple(
        TenantAlert(alert_id=_id(aid, "alert", i), test_id=i, start=alerting_since or 0.0) for i in alerting
    )
    return TenantGroup(
        aid=aid, name=f"Group {aid}", default=default, tests=tuple(tests), tags=made, alerts=alerts
    )


def _id(*parts: str) -> str:
    return str(uuid.uuid5(_SPACE, "/".join(parts)))


def _build(kind: type, content: Mapping[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    if unknown := set(content) - known:
        raise ValueError(f"{kind.__name__} has no {sorted(unknown)}; it has {sorted(known)}")
    return kind(**{key: _value(kind, key, value) for key, value in content.items()})


def _value(kind: type, key: str, value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if key in _PARTS and kind is not TenantTag:
        return tuple(_build(_PARTS[key], part) for part in value)
    return tuple(value)
