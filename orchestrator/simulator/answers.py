"""The JSON of every answer, field by field as the published schemas have it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from orchestrator.simulator.messages import iso
from orchestrator.simulator.snapshot_requests import SnapshotRequest
from orchestrator.simulator.world import Tenant, TenantAlert, TenantBearer, TenantGroup, TenantTag, TenantTest

Json = dict[str, object]

ROLE_ID = "3"
"""The id of the one role that users have."""

_APP = "https://app.thousandeyes.com"
_FIRST_SNAPSHOT_TEST = 281474976710801  # the schema's example
_ALERT_TYPES = {
    "agent-to-server": "end-to-end-server",
    "agent-to-agent": "end-to-end-agent",
    "ftp-server": "ftp",
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSnapshot:
    """A snapshot that was made; `created` in epoch seconds of the server's clock."""

    number: int
    source: TenantTest
    aid: str
    wanted: SnapshotRequest
    saved_event: bool
    created: float
    start_round: int
    end_round: int

    @property
    def snapshot_id(self) -> str:
        """Five letters that look drawn by chance and never repeat in 11 million."""
        rest, letters = self.number * 7_654_321 % len(_LETTERS) ** 5, ""
        for _ in range(5):
            rest, digit = divmod(rest, len(_LETTERS))
            letters += _LETTERS[digit]
        return letters

    @property
    def test_id(self) -> str:
        """The snapshot's own pseudo-test."""
        return str(_FIRST_SNAPSHOT_TEST + self.number)

    @property
    def as_test(self) -> TenantTest:
        """The test that GET /tests lists of it, if it is a saved event."""
        return TenantTest(
            test_id=self.test_id,
            name=self.wanted.display_name,
            type=self.source.type,
            interval=self.source.interval,
            saved_event=self.saved_event,
            created=self.created,
        )


def snapshot_answer(snapshot: TenantSnapshot, bearer: TenantBearer, base: str) -> Json:
    """The 201 of a snapshot."""
    test = test_answer(snapshot.as_test, bearer, base)
    app = f"{_APP}/view/tests/?testId={snapshot.test_id}&__a={snapshot.aid}"
    own = f"{base}/tests/{snapshot.source.test_id}/snapshot"
    return {
        "id": snapshot.snapshot_id,
        "startRoundId": snapshot.start_round,
        "endRoundId": snapshot.end_round,
        "roundId": snapshot.start_round,
        "shareDate": iso(snapshot.created),
        "sourceTestId": snapshot.source.test_id,
        "testId": snapshot.test_id,
        "uid": _uid(bearer),
        "displayName": snapshot.wanted.display_name,
        "test": test,
        "_links": {"self": {"href": own}, "appLink": {"href": app}},
    }


def test_answer(test: TenantTest, bearer: TenantBearer, base: str) -> Json:
    """A test as lists and snapshots show it."""
    results = f"{base}/test-results/{test.test_id}"
    return {
        "interval": test.interval,
        "alertsEnabled": test.alerts_enabled,
        "enabled": test.enabled,
        "createdBy": bearer.user,
        "createdDate": iso(test.created),
        "description": "",
        "liveShare": False,
        "savedEvent": test.saved_event,
        "testId": test.test_id,
        "testName": test.name,
        "type": test.type,
        "_links": {
            "self": {"href": f"{base}/tests/{test.type}/{test.test_id}"},
            "testResults": [{"href": f"{results}/network"}, {"href": f"{results}/path-vis"}],
        },
    }


def tag_answer(tag: TenantTag, aid: str, base: str, *, assignments: bool) -> Json:
    """A tag; the assignments of a static one when they are asked for."""
    shown: Json = {"assignments": [{"id": i, "type": "test"} for i in tag.tests]}
    return {
        **(shown if assignments and not tag.dynamic else {}),
        "accessType": "all",
        "aid": int(aid) if aid.isdecimal() else aid,
        "builtIn": False,
        "color": "#FF0000",
        "createDate": "2026-01-01T00:00:00Z",
        "icon": None,
        "description": None,
        "id": tag.tag_id,
        "key": tag.key,
        "legacyId": None,
        "modifiedDate": None,
        "objectType": "endpoint-agent" if tag.dynamic else "test",
        "type": "dynamic" if tag.dynamic else "static",
        "value": tag.value,
        "_links": {"self": {"href": f"{base}/tags/{tag.tag_id}"}},
    }


def alert_answer(alert: TenantAlert, test: TenantTest | None, base: str, now: float) -> Json:
    """An alert, active or cleared as of now, with the fields that are called deprecated too."""
    kind = test.type if test else "http-server"
    end = alert.end if alert.end is not None and alert.end <= now else None
    cleared: Json = {} if end is None else {"endDate": iso(end), "dateEnd": _legacy(end)}
    return {
        "id": alert.alert_id,
        "alertId": alert.alert_id,
        "alertType": _ALERT_TYPES.get(kind, kind),
        "startDate": iso(alert.start),
        "dateStart": _legacy(alert.start),
        **cleared,
        "violationCount": 1,
        "duration": int((now if end is None else end) - alert.start),
        "suppressed": False,
        "meta": {"version": 1},
        "alertRuleId": "127094",
        "ruleId": 127094,
        "alertState": "trigger" if end is None else "clear",
        "state": "ACTIVE" if end is None else "CLEARED",
        "alertSeverity": "major",
        "severity": "MAJOR",
        "_links": {
            "test": {"href": f"{base}/tests/{kind}/{alert.test_id}"},
            "rule": {"href": f"{base}/alerts/rules/127094"},
            "appLink": {"href": f"{_APP}/alerts/list/?alertId={alert.alert_id}"},
            "self": {"href": f"{base}/alerts/{alert.alert_id}"},
        },
    }


def account_group_answer(
    group: TenantGroup, organization: Tenant, current: str, *, shows_org_id: bool
) -> Json:
    """An account group, with its organization if this server shows it."""
    owner: Json = {"organizationName": organization.name, "orgId": organization.org_id}
    return {
        **_brief(group),
        "isCurrentAccountGroup": group.aid == current,
        "isDefaultAccountGroup": group.default,
        **(owner if shows_org_id else {}),
    }


def user_answer(bearer: TenantBearer, groups: list[TenantGroup], current: TenantGroup, base: str) -> Json:
    """The user whose token this is, and what it may see."""
    role: Json = {
        "name": "Regular User",
        "roleId": ROLE_ID,
        "isBuiltin": True,
        "hasManagementPermissions": False,
    }
    return {
        "name": bearer.user.partition("@")[0],
        "email": bearer.user,
        "uid": _uid(bearer),
        "dateRegistered": "2026-01-01T00:00:00Z",
        "lastLogin": "2026-01-02T00:00:00Z",
        "loginAccountGroup": _brief(current),
        "accountGroupRoles": [{"accountGroup": _brief(group), "roles": [role]} for group in groups],
        "allAccountGroupRoles": [],
        "_links": {"self": {"href": f"{base}/users/current"}},
    }


def role_answer(bearer: TenantBearer, base: str) -> Json:
    """The one role there is, with the permissions of the token that asks."""
    granted: list[Json] = [
        {
            "isManagementPermission": False,
            "label": label,
            "permission": label.upper().replace(" ", "_"),
            "permissionId": str(number),
        }
        for number, label in enumerate(bearer.permissions, start=1)
    ]
    return {
        "name": "Regular User",
        "roleId": ROLE_ID,
        "isBuiltin": True,
        "permissions": granted,
        "_links": {"self": {"href": f"{base}/roles/{ROLE_ID}"}},
    }


def _brief(group: TenantGroup) -> Json:
    return {"aid": group.aid, "accountGroupName": group.name}


def _uid(bearer: TenantBearer) -> str:
    return str(sum(map(ord, bearer.user)))


def _legacy(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
