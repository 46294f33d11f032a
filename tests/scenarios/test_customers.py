"""Three hundred customers in one folder: each is served with its own token and its own tests, or named.

How long it takes is measured by `python -m benchmarks customers`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.simulator import LoggedRequest, Simulator, serve
from tests.support.customers import CUSTOMERS, ENVIRON, REVOKED, STRANGER, world, write_files
from tests.support.incident import Started, install, start

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("customers")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What came of one run over the folder."""

    started: Started
    log: tuple[LoggedRequest, ...]
    folder: Path

    @property
    def records(self) -> list[dict[str, object]]:
        """What the run wrote on standard output."""
        return [json.loads(line) for _, line in self.started.lines]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """One run over the whole folder."""
    folder = tmp_path_factory.mktemp("customers")
    simulator = Simulator(world(), period=3.0, latency=(0.020, 0.010))
    with serve(simulator) as url:
        jobs = write_files(folder, simulator.world, url)
        started = start(install(folder), "run", str(jobs), "--json", environ=ENVIRON)
    return Day(started=started, log=tuple(simulator.log), folder=folder)


def test_everybody_else_is_served(day: Day) -> None:
    """One snapshot for each customer but two, whose tasks stay pending and whose names are told."""
    assert day.started.code == 4, day.started.stderr[-2000:]
    made = [one for one in day.records if one["event"] == "snapshot.created"]
    served = {f"customer-{number:03}" for number in range(1, CUSTOMERS + 1)} - {REVOKED, STRANGER}
    assert {one["organization"] for one in made} == served
    finished = day.records[-1]
    assert finished["counts"] == {"created": 298, "existing": 0, "failed": 0, "uncertain": 0, "pending": 2}
    assert finished["pending_reasons"] == {"token_refused": 2}
    trouble = [line for line in day.started.stderr.splitlines() if line.startswith("error: ")]
    assert trouble == [
        (
            f"error: {REVOKED}: the token was refused (401): the account groups could not be read: invalid_token."
            " Access token expired. The token is wrong, expired or revoked, or its account is locked after repeated"
            " failures; nothing is sent for it"
        ),
        (
            f"error: {STRANGER}: the token belongs to organization 1203, the job file says org_id 1: put the right"
            " token there, or correct org_id; nothing is sent for it"
        ),
    ]


def test_no_token_and_no_test_shows_up_at_another_s(day: Day) -> None:
    """Each request names what belongs to the customer whose token it carries; the two send no snapshot."""
    own = own_tests()
    posts = [entry for entry in day.log if entry.method == "POST"]
    assert len(posts) == CUSTOMERS - 2
    for post in posts:
        assert post.bearer is not None
        assert post.test == own[post.bearer]
        assert (post.display_name or "").startswith(f"Shop of {post.bearer} ")
    assert {post.bearer for post in posts}.isdisjoint({REVOKED, STRANGER})
    assert [entry.path for entry in day.log if entry.status == 401] == ["/v7/account-groups"]


def test_a_record_says_whose_test_it_is(day: Day) -> None:
    """What is printed of a customer is that customer's."""
    own = own_tests()
    for one in day.records[1:-1]:
        name = str(one["organization"])
        assert one["event"] == "organization.refused" or one["test_id"] == own[name]
        assert others_in(json.dumps(one), name) == set()


@pytest.mark.parametrize("form", ["md", "html", "csv", "table"])
def test_one_customers_report_has_nothing_of_another(day: Day, form: str) -> None:
    """Of all names, ids and links in the store only the customer's own are in it."""
    name = "customer-123"
    report = start(day.folder, "report", "--organization", name, "--format", form, environ={})
    assert report.code == 0, report.stderr
    assert f"Shop of {name}" in report.stdout
    assert others_in(report.stdout, name) == set()
    foreign = {str(one["link"]) for one in day.records if one.get("organization") != name and "link" in one}
    assert len(foreign) == CUSTOMERS - 3
    assert not [link for link in foreign if link in report.stdout]
    others = {test for customer, test in own_tests().items() if customer != name}
    assert not others & set(re.findall(r"\d+", report.stdout))


def own_tests() -> dict[str, str]:
    """Each customer's test."""
    return {one.name: one.account_groups[0].tests[0].test_id for one in world().organizations}


def others_in(text: str, name: str) -> set[str]:
    """The customers that a text names besides this one."""
    return set(re.findall(r"customer-\d+", text)) - {name}
