"""The official SDK's own models understand the lists of the simulator, and the catalog reads in them what they do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any, get_args

import pytest
from thousandeyes_sdk.administrative.models.account_groups import AccountGroups
from thousandeyes_sdk.alerts.models.alerts import Alerts
from thousandeyes_sdk.tags.models.tags import Tags
from thousandeyes_sdk.tests.models import test_type as sdk_type
from thousandeyes_sdk.tests.models import tests as sdk_tests

from orchestrator.api import catalog
from orchestrator.api.catalog import Query
from orchestrator.api.response import Answer
from orchestrator.jobfile.types import TestType
from orchestrator.simulator import (
    Reply,
    Request,
    Simulator,
    TenantAlert,
    TenantTag,
    TenantTest,
    World,
    example_world,
)

NOW = 1_795_000_000.0
BASE = "https://api.thousandeyes.com/v7"

UNKNOWN = "unknown"
"""What the SDK makes of a value that is not in its models."""


def world() -> World:
    """A test of each state, tags of both kinds and with no value, alerts that are active and that are over."""
    made = example_world(1, 3, now=NOW)
    (organization,) = made.organizations
    (group,) = organization.account_groups
    odd = TenantTest(test_id="9", name="Über <all> | =1", enabled=False, saved_event=True, type="bgp")
    tags = (*group.tags, TenantTag(tag_id="t-9", key="edge", value="", tests=("9", "202701")))
    alerts = (*group.alerts, TenantAlert(alert_id="a-9", test_id="9", start=NOW - 60.0))
    group = replace(group, tests=(*group.tests, odd), tags=tags, alerts=alerts)
    return replace(made, organizations=(replace(organization, account_groups=(group,)),))


def said(path: str, **query: str) -> dict[str, Any]:
    """What the simulator answers to a GET."""
    simulator = Simulator(world(), latency=(0.0, 0.0))
    request = Request(
        method="GET", path=f"/v7{path}", query=query, headers={"Authorization": "Bearer token-1"}
    )
    reply = simulator.process(simulator.accept(request, NOW), NOW)
    assert isinstance(reply, Reply)
    assert reply.status == 200
    found = reply.json()
    assert isinstance(found, dict)
    return found


def understood(model: Any, page: dict[str, Any]) -> Any:
    """The list as the SDK reads it; every field of its models may be missing, so they stay untyped here."""
    return model.from_dict(page)


class Page:
    """A getter that answers with one page, whatever it is asked for."""

    def __init__(self, page: dict[str, Any]) -> None:
        self.base_url, self._page = BASE, page

    def get(self, path: str, query: Query = ()) -> Answer:
        return Answer(sent=True, status=200, body=json.dumps(self._page).encode())


def written(model: Any) -> Page:
    """The list as the SDK itself writes it."""
    return Page(json.loads(model.to_json()))


def named(one: dict[str, Any]) -> set[str]:
    """The fields that have a value."""
    return {key for key, value in one.items() if value is not None}


def seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


LISTS: list[tuple[Any, str, str, dict[str, str]]] = [
    (sdk_tests.Tests, "tests", "/tests", {}),
    (Tags, "tags", "/tags", {"expand": "assignments"}),
    (Alerts, "alerts", "/alerts", {"state": "trigger"}),
    (Alerts, "alerts", "/alerts", {"state": "clear"}),
    (AccountGroups, "accountGroups", "/account-groups", {}),
]


@pytest.mark.parametrize(("model", "name", "path", "query"), LISTS)
def test_the_sdk_knows_every_field_that_the_simulator_sends(
    model: Any, name: str, path: str, query: dict[str, str]
) -> None:
    """The strict models take each entry, and none of its fields is lost in them."""
    page = said(path, **query)
    read = model.from_json(json.dumps(page))
    written_again = read.to_json()
    entries = json.loads(written_again)[name]
    assert len(entries) == len(page[name]) > 0
    assert [named(entry) for entry in entries] == [named(entry) for entry in page[name]]
    assert not any(entry.model_extra for entry in next(iter(read))[1])
    assert f'"{UNKNOWN}"' not in written_again


def test_tests_mean_the_same_to_the_sdk() -> None:
    """Names, kinds, states and times."""
    theirs = understood(sdk_tests.Tests, said("/tests"))
    ours = catalog.read_tests(written(theirs), None)
    assert [(one.id, one.name, one.type, one.enabled, one.saved_event) for one in ours] == [
        (one.test_id, one.test_name, one.type.value, one.enabled, one.saved_event) for one in theirs.tests
    ]
    assert [one.created_at for one in ours] == [seconds(one.created_date) for one in theirs.tests]
    assert ours[-1].saved_event
    assert not ours[-1].enabled


def test_the_types_of_the_grammar_are_the_sdks() -> None:
    """What `type` takes is what the SDK knows, no more and no less, but for its word for what it does not know."""
    assert {*get_args(TestType), UNKNOWN} == {one.value for one in sdk_type.TestType}


def test_tags_mean_the_same_to_the_sdk() -> None:
    """Keys, values, whether they are dynamic, and the tests that they are assigned to."""
    theirs = understood(Tags, said("/tags", expand="assignments"))
    ours = catalog.read_tags(written(theirs), None)
    assert [(one.id, one.key, one.value, one.dynamic) for one in ours] == [
        (one.id, one.key, one.value, one.type.value == "dynamic") for one in theirs.tags
    ]
    assert [one.test_ids for one in ours] == [
        tuple(each.id for each in one.assignments or () if each.type.value == "test") for one in theirs.tags
    ]
    assert ours[-1].test_ids == ("9", "202701")


@pytest.mark.parametrize("state", ["trigger", "clear"])
def test_alerts_mean_the_same_to_the_sdk(state: str) -> None:
    """Whose they are, since when and until when."""
    theirs = understood(Alerts, said("/alerts", state=state))
    ours = catalog.read_alerts(written(theirs), None)
    assert [(one.id, one.type, one.started_at, one.ended_at) for one in ours] == [
        (one.id, one.alert_type.value, seconds(one.start_date), seconds(one.end_date))
        for one in theirs.alerts
    ]
    assert [one.test_id for one in ours] == [one.links.test.href.rpartition("/")[2] for one in theirs.alerts]


def test_account_groups_mean_the_same_to_the_sdk() -> None:
    """Ids, names, which one is current, and whose they are."""
    theirs = understood(AccountGroups, said("/account-groups"))
    ours = catalog.read_account_groups(written(theirs))
    assert [(one.aid, one.name, one.org_id, one.organization_name) for one in ours] == [
        (one.aid, one.account_group_name, one.org_id, one.organization_name) for one in theirs.account_groups
    ]
    assert [(one.current, one.default) for one in ours] == [
        (one.is_current_account_group, one.is_default_account_group) for one in theirs.account_groups
    ]
