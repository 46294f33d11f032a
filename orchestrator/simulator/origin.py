"""One request heard by the origin.

The order of a real server: token (401), general limit (429), resource (404, 405), Accept (406),
permission (403), account group and test (404), body (415, 400), region (403), snapshot limit (429).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from orchestrator.simulator import answers, quota
from orchestrator.simulator.alerts import chosen_alerts, page
from orchestrator.simulator.answers import TenantSnapshot
from orchestrator.simulator.drafts import SnapshotRequest, read_draft
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


@dataclass(slots=True)
class Case:
    """A request on its way through the origin: each step adds what it has found out."""

    request: Request
    at: float
    bearer: TenantBearer | None = None
    organization: Tenant | None = None
    aid: str | None = None
    test_id: str | None = None
    draft: SnapshotRequest | None = None
    snapshot: TenantSnapshot | None = None
    exhausted: str | None = None  # which limit refused it


class Origin:
    """The server behind the gateway: the world, and what has been used and made in it."""

    def __init__(self, world: World, limit: quota.Quota, policy: quota.Policy) -> None:
        self.world = world
        self._limits = {one.org_id: _own(one, limit) for one in world.organizations}
        self._policy = policy
        self._organizations = {o.org_id: o for o in world.organizations}
        self._bearers = {bearer.token: bearer for bearer in world.bearers}
        self._uses: dict[str, quota.Uses] = defaultdict(quota.Uses)
        self._general: dict[str, quota.GeneralQuota] = defaultdict(quota.GeneralQuota)
        self._made: list[TenantSnapshot] = []
        self._saved: dict[tuple[str, str], list[TenantTest]] = defaultdict(list)

    def hear(self, request: Request, at: float, *, foreign: bool = False) -> tuple[Case, Reply]:
        """Act on a request and answer it; with `foreign` somebody else is quicker to every free slot."""
        case = Case(request=request, at=at)
        try:
            reply = self._decide(case, foreign=foreign)
        except Refusal as refusal:
            reply = refusal.reply
        return case, self._with_general_headers(case, reply)

    def take_slot(self, org_id: str, at: float) -> bool:
        """Use the snapshot quota of an organization once, whoever asks; False when it is used up."""
        self._uses[org_id], allowed = self._policy(self._limits[org_id], self._uses[org_id], at)
        return allowed

    def _decide(self, case: Case, *, foreign: bool) -> Reply:
        self._authenticate(case)
        self._count_request(case)
        endpoint = self._endpoint(case)
        _check_accept(case.request)
        return self._post_snapshot(case, foreign=foreign) if endpoint is None else endpoint(case)

    def _authenticate(self, case: Case) -> None:
        scheme, _, token = (case.request.header("Authorization") or "").partition(" ")
        bearer = self._bearers.get(token.strip()) if scheme.lower() == "bearer" else None
        organization = self._organizations.get(bearer.org_id) if bearer else None
        if bearer is None or organization is None or bearer.expired:
            text = "Access token expired" if bearer and bearer.expired else "Invalid access token"
            raise Refusal(answer(401, {"error": "invalid_token", "error_description": text}, PROBLEM))
        case.bearer, case.organization = bearer, organization

    def _count_request(self, case: Case) -> None:
        org_id = _require(case.organization).org_id
        self._general[org_id], allowed = self._general[org_id].count_request(case.at)
        if not allowed:
            case.exhausted = GENERAL
            raise Refusal(problem(429, "Exhausted rate limit for the organization", case.request.path))

    def _endpoint(self, case: Case) -> Callable[[Case], Reply] | None:
        """The endpoint that answers a GET; None for the POST of a snapshot."""
        request = case.request
        gets = {
            f"{PREFIX}/tests": self._get_tests,
            f"{PREFIX}/tags": self._get_tags,
            f"{PREFIX}/alerts": self._get_alerts,
            f"{PREFIX}/account-groups": self._get_account_groups,
            f"{PREFIX}/users/current": self._get_user,
        }
        if _ROLE_PATH.fullmatch(request.path):
            gets[request.path] = self._get_role
        post = _SNAPSHOT_PATH.fullmatch(request.path)
        if not post and request.path not in gets:
            raise Refusal(problem(404, f"There is no resource {request.path}", request.path))
        allowed = "POST" if post else "GET"
        if request.method != allowed:
            refused = problem(405, f"{request.method} is not supported here", request.path)
            raise Refusal(replace(refused, headers={**refused.headers, "Allow": allowed}))
        case.test_id = post[1] if post else None
        return None if post else gets[request.path]

    def _post_snapshot(self, case: Case, *, foreign: bool) -> Reply:
        group = self._group(case, CREATE_SNAPSHOTS)
        test = self._source(case, group)
        server_time = case.at + self.world.clock_offset
        draft = case.draft = read_draft(case.request, server_time)
        saved_event = draft.is_public is self.world.public_is_saved_event
        if not saved_event and not self.world.share_links_allowed:
            raise Refusal(problem(403, "Public snapshots are not enabled in this region", case.request.path))
        self._use_quota(case, foreign=foreign)
        step = test.interval if self.world.aligns_rounds else 1
        snapshot = case.snapshot = TenantSnapshot(
            number=len(self._made) + 1,
            source=test,
            aid=group.aid,
            draft=draft,
            saved_event=saved_event,
            created=server_time,
            start_round=int(draft.start // step * step),
            end_round=int(draft.end // step * step),
        )
        self._keep(snapshot, _require(case.organization).org_id)
        return answer(201, answers.snapshot_answer(snapshot, _require(case.bearer), case.request.base_url))

    def _source(self, case: Case, group: TenantGroup) -> TenantTest:
        tests = (test for test in self._tests_of(case, group) if test.test_id == case.test_id)
        test = next(tests, None)
        if test is None:
            detail = f"There is no test {case.test_id} in account group {group.aid}"
            raise Refusal(problem(404, detail, case.request.path))
        if test.saved_event or test.endpoint:
            kind = "a saved event" if test.saved_event else "an Endpoint Agent test"
            error = {"code": "SNAPSHOT-400", "field": "testId", "message": f"Test {test.test_id} is {kind}"}
            raise Refusal(invalid([error], case.request.path))
        return test

    def _use_quota(self, case: Case, *, foreign: bool) -> None:
        org_id = _require(case.organization).org_id
        taken = 0
        while foreign and taken < self._limits[org_id].limit and self.take_slot(org_id, case.at):
            taken += 1
        if self.take_slot(org_id, case.at):
            return
        case.exhausted = SNAPSHOTS
        reply = problem(429, "The snapshot limit of the organization is exhausted", case.request.path)
        if self.world.sends_retry_after:
            reply = replace(
                reply, headers={**reply.headers, "Retry-After": f"{self._limits[org_id].period:.0f}"}
            )
        raise Refusal(reply)

    def _keep(self, snapshot: TenantSnapshot, org_id: str) -> None:
        self._made.append(snapshot)
        if snapshot.saved_event:
            self._saved[org_id, snapshot.aid].append(snapshot.as_test)

    def _get_tests(self, case: Case) -> Reply:
        group, base = self._group(case, VIEW_TESTS), case.request.base_url
        shown = [test for test in self._tests_of(case, group) if not test.endpoint]
        tests = [answers.test_answer(test, _require(case.bearer), base) for test in shown]
        return answer(200, {"tests": tests, "_links": _self_link(case.request)})

    def _get_tags(self, case: Case) -> Reply:
        group, expand = self._group(case, VIEW_TAGS), case.request.query.get("expand")
        if expand not in {None, "assignments"}:
            error = {"code": "TAGS-400", "field": "expand", "message": "expand must be assignments"}
            raise Refusal(invalid([error], case.request.path))
        base, wanted = case.request.base_url, expand is not None
        tags = [answers.tag_answer(tag, group.aid, base, assignments=wanted) for tag in group.tags]
        return answer(200, {"tags": tags, "_links": _self_link(case.request)}, PLAIN)

    def _get_alerts(self, case: Case) -> Reply:
        group = self._group(case, VIEW_ALERTS)
        now, tests = case.at + self.world.clock_offset, {test.test_id: test for test in group.tests}
        meant = chosen_alerts(group.alerts, case.request, now)
        shown, following = page(meant, case.request, self.world.page_size)
        base, inside = case.request.base_url, self.world.link_host
        if following and inside:
            following = urlsplit(following)._replace(netloc=inside).geturl()
        alerts = [answers.alert_answer(alert, tests.get(alert.test_id), base, now) for alert in shown]
        links = _self_link(case.request) | ({"next": {"href": following}} if following else {})
        return answer(200, {"alerts": alerts, "_links": links})

    def _get_account_groups(self, case: Case) -> Reply:
        organization, groups = _require(case.organization), self._groups(case)
        current, shows = self._group(case).aid, self.world.shows_org_id
        shown = [
            answers.account_group_answer(group, organization, current, shows_org_id=shows) for group in groups
        ]
        return answer(200, {"accountGroups": shown, "_links": _self_link(case.request)})

    def _get_user(self, case: Case) -> Reply:
        groups, base = self._groups(case), case.request.base_url
        return answer(200, answers.user_answer(_require(case.bearer), groups, self._group(case), base))

    def _get_role(self, case: Case) -> Reply:
        """The role of the token's user: here everybody has one role, with what the token permits."""
        if case.request.path != f"{PREFIX}/roles/{answers.ROLE_ID}":
            raise Refusal(problem(404, "There is no such role", case.request.path))
        return answer(200, answers.role_answer(_require(case.bearer), case.request.base_url))

    def _groups(self, case: Case) -> list[TenantGroup]:
        """The account groups that the token opens."""
        aids = _require(case.bearer).aids
        return [g for g in _require(case.organization).account_groups if not aids or g.aid in aids]

    def _group(self, case: Case, permission: str | None = None) -> TenantGroup:
        """The account group of a request: the one named by `aid`, or the token's default."""
        bearer, aid = _require(case.bearer), case.request.query.get("aid")
        if permission is not None and permission not in bearer.permissions:
            raise Refusal(problem(403, f"The permission `{permission}` is missing", case.request.path))
        groups = self._groups(case)
        if aid is None:
            groups.sort(key=lambda group: not group.default)
        else:
            groups = [group for group in groups if group.aid == aid]
        if not groups:
            raise Refusal(problem(404, f"There is no account group {aid}", case.request.path))
        case.aid = groups[0].aid
        return groups[0]

    def _tests_of(self, case: Case, group: TenantGroup) -> list[TenantTest]:
        return [*group.tests, *self._saved[_require(case.organization).org_id, group.aid]]

    def _with_general_headers(self, case: Case, reply: Reply) -> Reply:
        if case.organization is None:
            return reply
        general = self._general[case.organization.org_id]
        return replace(reply, headers={**reply.headers, **general.headers(self.world.clock_offset)})


_T = TypeVar("_T")
_ROLE_PATH = re.compile(re.escape(PREFIX) + r"/roles/([^/]+)")
_SNAPSHOT_PATH = re.compile(re.escape(PREFIX) + r"/tests/([^/]+)/snapshot")
_ACCEPTABLE = frozenset({"*/*", "application/*", "application/json", "application/hal+json"})


def _check_accept(request: Request) -> None:
    accepted = {
        part.partition(";")[0].strip().lower() for part in (request.header("Accept") or "*/*").split(",")
    }
    if not accepted & _ACCEPTABLE:
        raise Refusal(problem(406, "The answer is application/hal+json", request.path))


def _self_link(request: Request) -> dict[str, object]:
    return {"self": {"href": request.base_url + request.path.removeprefix(PREFIX)}}


def _require(value: _T | None) -> _T:
    if value is None:
        raise RuntimeError("a step of the origin came before the one that it needs")
    return value


def _own(organization: Tenant, limit: quota.Quota) -> quota.Quota:
    """The organization's snapshot limit: everybody's, unless it has one of its own."""
    return quota.Quota(limit=organization.limit or limit.limit, period=organization.period or limit.period)
