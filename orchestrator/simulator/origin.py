"""One request heard by the origin.

The order of a real server: token (401), general limit (429), resource (404, 405), Accept (406),
permission (403), account group and test (404), body (415, 400), region (403), snapshot limit (429).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestrator.simulator import answers, quota
from orchestrator.simulator.alerts import page, select_alerts
from orchestrator.simulator.answers import TenantSnapshot
from orchestrator.simulator.messages import (
    PLAIN,
    PREFIX,
    PROBLEM,
    Refusal,
    Reply,
    Request,
    answer,
    invalid,
    problem,
)
from orchestrator.simulator.snapshot_requests import SnapshotRequest, read_snapshot_request
from orchestrator.simulator.world import (
    CREATE_SNAPSHOTS,
    VIEW_ALERTS,
    VIEW_TAGS,
    VIEW_TESTS,
    Tenant,
    TenantBearer,
    TenantGroup,
    TenantTest,
    World,
)

GENERAL, SNAPSHOTS = "general", "snapshots"
"""The two limits that can refuse a request: all requests in a minute, snapshots in the period."""

_ACCEPTABLE = frozenset({"*/*", "application/*", "application/json", "application/hal+json"})


@dataclass(slots=True)
class Case:
    """A request whose token is known, on its way through the origin: each step adds what it has found out."""

    request: Request
    at: float
    bearer: TenantBearer
    tenant: Tenant
    foreign: bool
    aid: str | None = None
    test_id: str | None = None
    wanted: SnapshotRequest | None = None
    snapshot: TenantSnapshot | None = None
    exhausted: str | None = None  # which limit refused it

    def groups(self) -> list[TenantGroup]:
        """The account groups that the token opens."""
        aids = self.bearer.aids
        return [group for group in self.tenant.account_groups if not aids or group.aid in aids]

    def find_group(self, permission: str | None = None) -> TenantGroup:
        """The account group that `aid` names, or the token's default; a Refusal without the permission."""
        aid = self.request.query.get("aid")
        if permission is not None and permission not in self.bearer.permissions:
            raise self.refusal(403, f"The permission `{permission}` is missing")
        groups = self.groups()
        if aid is None:
            groups.sort(key=lambda group: not group.default)
        else:
            groups = [group for group in groups if group.aid == aid]
        if not groups:
            raise self.refusal(404, f"There is no account group {aid}")
        self.aid = groups[0].aid
        return groups[0]

    def refusal(self, status: int, detail: str, headers: dict[str, str] | None = None) -> Refusal:
        """The error that ends this request with a problem of this status."""
        return Refusal(problem(status, detail, self.request.path).with_headers(headers or {}))

    def refusal_of_field(self, code: str, field: str, message: str) -> Refusal:
        """The error that ends this request with a 400 for one field."""
        return Refusal(invalid([{"code": code, "field": field, "message": message}], self.request.path))


class Origin:
    """The server behind the gateway: the world, and what has been used and made in it."""

    def __init__(self, world: World, limit: quota.Quota, policy: quota.Policy) -> None:
        self.world = world
        self._quotas = {one.org_id: _quota_of(one, limit) for one in world.organizations}
        self._policy = policy
        self._tenants = {tenant.org_id: tenant for tenant in world.organizations}
        self._bearers = {bearer.token: bearer for bearer in world.bearers}
        self._uses: dict[str, quota.Uses] = defaultdict(quota.Uses)
        self._general: dict[str, quota.Uses] = defaultdict(quota.Uses)
        self._made: list[TenantSnapshot] = []
        self._saved: dict[tuple[str, str], list[TenantTest]] = defaultdict(list)

    def hear(self, request: Request, at: float, *, foreign: bool = False) -> tuple[Case | None, Reply]:
        """Act on a request and answer it; with `foreign` somebody else is quicker to every free slot.

        Without a case for a token that is not known.
        """
        case: Case | None = None
        try:
            case = self._authenticate(request, at, foreign=foreign)
            reply = self._decide(case)
        except Refusal as refusal:
            reply = refusal.reply
        if case is None:
            return None, reply
        headers = quota.general_headers(self._general[case.tenant.org_id], self.world.clock_offset)
        return case, reply.with_headers(headers)

    def take_slot(self, org_id: str, at: float) -> bool:
        """Use the snapshot quota of an organization once, whoever asks; False when it is used up."""
        self._uses[org_id], allowed = self._policy(self._quotas[org_id], self._uses[org_id], at)
        return allowed

    def _authenticate(self, request: Request, at: float, *, foreign: bool) -> Case:
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        bearer = self._bearers.get(token.strip()) if scheme.lower() == "bearer" else None
        tenant = self._tenants.get(bearer.org_id) if bearer else None
        if bearer is None or tenant is None or bearer.expired:
            text = "Access token expired" if bearer and bearer.expired else "Invalid access token"
            raise Refusal(answer(401, {"error": "invalid_token", "error_description": text}, PROBLEM))
        return Case(request=request, at=at, bearer=bearer, tenant=tenant, foreign=foreign)

    def _decide(self, case: Case) -> Reply:
        self._count_request(case)
        endpoint = self._find_endpoint(case)
        accepted = (case.request.header("Accept") or "*/*").split(",")
        if not _ACCEPTABLE & {part.partition(";")[0].strip().lower() for part in accepted}:
            raise case.refusal(406, "The answer is application/hal+json")
        return endpoint(case)

    def _count_request(self, case: Case) -> None:
        org_id = case.tenant.org_id
        self._general[org_id], allowed = quota.fixed_windows(
            quota.GENERAL_LIMIT, self._general[org_id], case.at
        )
        if not allowed:
            case.exhausted = GENERAL
            raise case.refusal(429, "Exhausted rate limit for the organization")

    def _find_endpoint(self, case: Case) -> Callable[[Case], Reply]:
        request = case.request
        endpoints = {
            r"/tests/(?P<test>[^/]+)/snapshot": ("POST", self._post_snapshot),
            "/tests": ("GET", self._get_tests),
            "/tags": ("GET", self._get_tags),
            "/alerts": ("GET", self._get_alerts),
            "/account-groups": ("GET", self._get_account_groups),
            "/users/current": ("GET", self._get_user),
            r"/roles/[^/]+": ("GET", self._get_role),
        }
        for path, (method, endpoint) in endpoints.items():
            if match := re.fullmatch(PREFIX + path, request.path):
                if request.method != method:
                    raise case.refusal(405, f"{request.method} is not supported here", {"Allow": method})
                case.test_id = match.groupdict().get("test")
                return endpoint
        raise case.refusal(404, f"There is no resource {request.path}")

    def _post_snapshot(self, case: Case) -> Reply:
        group = case.find_group(CREATE_SNAPSHOTS)
        test = self._find_source(case, group)
        server_time = case.at + self.world.clock_offset
        wanted = case.wanted = read_snapshot_request(case.request, server_time)
        saved_event = wanted.is_public is self.world.public_is_saved_event
        if not saved_event and not self.world.share_links_allowed:
            raise case.refusal(403, "Public snapshots are not enabled in this region")
        self._use_quota(case)
        step = test.interval if self.world.aligns_rounds else 1
        snapshot = case.snapshot = TenantSnapshot(
            number=len(self._made) + 1,
            source=test,
            aid=group.aid,
            wanted=wanted,
            saved_event=saved_event,
            created=server_time,
            start_round=int(wanted.start // step * step),
            end_round=int(wanted.end // step * step),
        )
        self._made.append(snapshot)
        if saved_event:
            self._saved[case.tenant.org_id, group.aid].append(snapshot.as_test)
        return answer(201, answers.snapshot_answer(snapshot, case.bearer, case.request.base_url))

    def _find_source(self, case: Case, group: TenantGroup) -> TenantTest:
        """The test that a snapshot is asked of; a Refusal for one that none can be made of."""
        tests = (test for test in self._tests_of(case, group) if test.test_id == case.test_id)
        test = next(tests, None)
        if test is None:
            raise case.refusal(404, f"There is no test {case.test_id} in account group {group.aid}")
        if test.saved_event or test.endpoint:
            kind = "a saved event" if test.saved_event else "an Endpoint Agent test"
            raise case.refusal_of_field("SNAPSHOT-400", "testId", f"Test {test.test_id} is {kind}")
        return test

    def _use_quota(self, case: Case) -> None:
        org_id = case.tenant.org_id
        limit = self._quotas[org_id]
        taken = 0
        while case.foreign and taken < limit.limit and self.take_slot(org_id, case.at):
            taken += 1
        if self.take_slot(org_id, case.at):
            return
        case.exhausted = SNAPSHOTS
        headers = {"Retry-After": f"{limit.period:.0f}"} if self.world.sends_retry_after else None
        raise case.refusal(429, "The snapshot limit of the organization is exhausted", headers)

    def _get_tests(self, case: Case) -> Reply:
        group, base = case.find_group(VIEW_TESTS), case.request.base_url
        shown = [test for test in self._tests_of(case, group) if not test.endpoint]
        tests = [answers.test_answer(test, case.bearer, base) for test in shown]
        return answer(200, {"tests": tests, "_links": _self_link(case.request)})

    def _get_tags(self, case: Case) -> Reply:
        group, expand = case.find_group(VIEW_TAGS), case.request.query.get("expand")
        if expand not in {None, "assignments"}:
            raise case.refusal_of_field("TAGS-400", "expand", "expand must be assignments")
        base, wanted = case.request.base_url, expand is not None
        tags = [answers.tag_answer(tag, group.aid, base, assignments=wanted) for tag in group.tags]
        return answer(200, {"tags": tags, "_links": _self_link(case.request)}, PLAIN)

    def _get_alerts(self, case: Case) -> Reply:
        group = case.find_group(VIEW_ALERTS)
        now, tests = case.at + self.world.clock_offset, {test.test_id: test for test in group.tests}
        meant = select_alerts(group.alerts, case.request, now)
        shown, following = page(meant, case.request, self.world.page_size)
        base, inside = case.request.base_url, self.world.link_host
        if following and inside:
            following = urlsplit(following)._replace(netloc=inside).geturl()
        alerts = [answers.alert_answer(alert, tests.get(alert.test_id), base, now) for alert in shown]
        links = _self_link(case.request) | ({"next": {"href": following}} if following else {})
        return answer(200, {"alerts": alerts, "_links": links})

    def _get_account_groups(self, case: Case) -> Reply:
        current, shows = case.find_group().aid, self.world.shows_org_id
        shown = [
            answers.account_group_answer(group, case.tenant, current, shows_org_id=shows)
            for group in case.groups()
        ]
        return answer(200, {"accountGroups": shown, "_links": _self_link(case.request)})

    def _get_user(self, case: Case) -> Reply:
        base = case.request.base_url
        return answer(200, answers.user_answer(case.bearer, case.groups(), case.find_group(), base))

    def _get_role(self, case: Case) -> Reply:
        """The role of the token's user: everybody has the same one, with what the token permits."""
        if case.request.path != f"{PREFIX}/roles/{answers.ROLE_ID}":
            raise case.refusal(404, "There is no such role")
        return answer(200, answers.role_answer(case.bearer, case.request.base_url))

    def _tests_of(self, case: Case, group: TenantGroup) -> list[TenantTest]:
        return [*group.tests, *self._saved[case.tenant.org_id, group.aid]]


def _self_link(request: Request) -> dict[str, object]:
    return {"self": {"href": request.base_url + request.path.removeprefix(PREFIX)}}


def _quota_of(tenant: Tenant, limit: quota.Quota) -> quota.Quota:
    """The organization's snapshot limit: everybody's, unless it has one of its own."""
    return quota.Quota(limit=tenant.limit or limit.limit, period=tenant.period or limit.period)
