"""What is wrong with one organization is its own trouble: the others are served, and it is named with reason and code."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.simulator import Simulator, World, example_world, serve
from tests.support.commands import Ran, run_tesnap
from tests.support.switches import PATHS, Switches, serve_switches

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("whose_trouble")]

CUSTOMERS = 400

MISSING, EMPTY, PLACEHOLDER = "customer-007", "customer-123", "customer-399"
"""Whose token file is not there, has nothing in it, or holds what cannot be a token."""

NOTHING, TOO_MUCH = "customer-200", "customer-301"
"""In whose account group no test is called so, or more than are allowed."""

REFUSED = {
    MISSING: ("token_missing", 4),
    EMPTY: ("token_missing", 4),
    PLACEHOLDER: ("token_missing", 4),
    NOTHING: ("too_few_tests", 3),
    TOO_MUCH: ("too_many_tests", 3),
}

JOBFILE = """\
version: 1
name: nightly
organization_defaults: {{token_file: 'tokens/{{organization}}', base_url: '{url}'}}
organizations: {{{names}}}
ping: {{url_file: switch}}
jobs:
  - name: shops
    organization: "*"
    select: {{test_name: "Shop"}}
    max_tests: 2
    windows: [{{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}}]
"""


def world() -> World:
    """Organizations with three tests each, one of them a shop; one has none, another has three."""
    made = example_world(CUSTOMERS, 3)
    organizations = []
    for number, organization in enumerate(made.organizations, start=1):
        name = f"customer-{number:03}"
        (group,) = organization.account_groups
        shops = {NOTHING: 0, TOO_MUCH: 3}.get(name, 1)
        tests = tuple(
            replace(test, name=f"{'Shop' if at < shops else 'Mail'} {at} of {name}")
            for at, test in enumerate(group.tests)
        )
        organizations.append(replace(organization, name=name, account_groups=(replace(group, tests=tests),)))
    return replace(made, organizations=tuple(organizations))


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One run over all organizations, then one by hand of a part of them."""

    whole: Ran
    part: Ran
    status: Ran
    again: Ran
    asked: dict[str, int]
    said: list[list[str]]
    metrics: list[str]

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the run wrote on standard output."""
        return [json.loads(line) for line in self.whole.stdout.splitlines()]


def write_files(folder: Path, made: World, url: str, switches: Switches) -> None:
    """The job file, a token file for each organization but one, and the switch's address."""
    (folder / "tokens").mkdir()
    for organization, bearer in zip(made.organizations, made.bearers, strict=True):
        (folder / "tokens" / organization.name).write_text(bearer.token)
    (folder / "tokens" / MISSING).unlink()
    (folder / "tokens" / EMPTY).write_text("\n")
    (folder / "tokens" / PLACEHOLDER).write_text("${TE_TOKEN}")
    names = ", ".join(f"{organization.name}: {{}}" for organization in made.organizations)
    (folder / "jobs.yaml").write_text(JOBFILE.format(url=url, names=names))
    (folder / "switch").write_text(switches.url + PATHS["healthchecks"])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The night and the morning after."""
    folder, made = tmp_path_factory.mktemp("night"), world()
    simulator = Simulator(made, period=3.0, latency=(0.005, 0.002))
    watched = ("--metrics", f"{folder}/tesnap.prom", "--metrics-organizations", "--json")
    jobs, said, metrics = f"{folder}/jobs.yaml", [], []
    with serve(simulator) as url, serve_switches() as switches:
        write_files(folder, made, url, switches)

        def noted(*words: str) -> Ran:
            ended = run_tesnap(folder, *words)
            said.append(list(switches.said))
            assert (folder / "tesnap.prom").exists(), ended.stderr[-2000:]
            metrics.append((folder / "tesnap.prom").read_text())
            return ended

        whole = noted("run", jobs, *watched)
        asked = {"requests": sum(entry.method == "POST" for entry in simulator.log)}
        status = run_tesnap(folder, "status")
        part = noted("run", jobs, "--organization", "customer-00[1-5]", *watched)
        again = noted("resume", json.loads(whole.stdout.splitlines()[0])["run_id"], "--json")
    return Night(whole=whole, part=part, status=status, again=again, asked=asked, said=said, metrics=metrics)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """The samples by their name and the values of their labels."""
    found = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {(one.name.removeprefix("tesnap_"), *one.labels.values()): one.value for one in found}


def test_all_others_are_served(night: Night) -> None:
    """One snapshot for each of 395, one request each; nothing was sent for the five."""
    assert night.whole.code == 4, night.whole.stderr[-2000:]
    made = [one["organization"] for one in night.records if one["event"] == "snapshot.created"]
    expected = {f"customer-{number:03}" for number in range(1, CUSTOMERS + 1)} - REFUSED.keys()
    assert (set(made), len(made), night.asked["requests"]) == (expected, 395, 395)


def test_the_five_are_named_with_reason_and_code(night: Night) -> None:
    """In records, in the last record, on standard error, and afterwards in the status."""
    refused = [one for one in night.records if one["event"] == "organization.refused"]
    assert {one["organization"]: (one["reason"], one["exit_code"]) for one in refused} == REFUSED
    assert all(one["text"] for one in refused)
    assert [one["event"] for one in night.records[: len(REFUSED) + 1]] == [
        "run.started",
        *["organization.refused"] * len(REFUSED),
    ]
    last = night.records[-1]
    assert (last["event"], last["exit_code"]) == ("run.finished", 4)
    assert last["refused"] == {name: reason for name, (reason, _) in REFUSED.items()}
    errors = [line for line in night.whole.stderr.splitlines() if line.startswith("error: ")]
    for name in REFUSED:
        assert f"{name} is refused" in night.status.stdout
        assert sum(name in line for line in errors) == 1  # other lines say what is being read
    assert "5 organizations REFUSED" in night.whole.stderr.splitlines()[-1]


def test_the_status_says_what_to_do(night: Night) -> None:
    """Whoever looks in the morning is told what to put right, and then to start the same file again."""
    *_, last = night.status.stdout.splitlines()
    assert re.fullmatch(
        "next: put the token in its place and correct the selection, then tesnap run /.*/jobs.yaml", last
    )


def test_the_metrics_and_the_switch_say_so(night: Night) -> None:
    """A failure, with the number of them and the cause of each."""
    assert night.said[0] == ["start", "fail"]
    found = samples(night.metrics[0])
    assert found["last_run_exit_code", "nightly"] == 4
    assert found["last_run_organizations_refused", "nightly"] == len(REFUSED)
    assert found["last_run_snapshots", "nightly", "created"] == 395
    assert ("last_success_timestamp_seconds", "nightly") not in found
    troubled = {key[2:] for key in found if key[0] == "organization_last_run_trouble"}
    assert troubled == {(name, reason) for name, (reason, _) in REFUSED.items()}
    assert sum(key[0] == "organization_last_success_timestamp_seconds" for key in found) == 395


def test_a_part_that_is_run_by_hand_turns_nothing_green(night: Night) -> None:
    """Neither the switch nor the metrics of the job."""
    assert night.part.code == 0, night.part.stderr
    assert night.said[1] == night.said[0]
    assert samples(night.metrics[1]) == samples(night.metrics[0])


def test_who_carries_the_run_on_is_told_the_same(night: Night) -> None:
    """The plan left them out, and no start of the same run makes up for it: that is not green either."""
    assert night.again.code == 4
    refused = [json.loads(line) for line in night.again.stdout.splitlines()]
    named = {one["organization"] for one in refused if one["event"] == "organization.refused"}
    assert named == REFUSED.keys()
    assert night.said[2][2:] == ["fail"]
