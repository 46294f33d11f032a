"""A test that two account groups share, over HTTP: one snapshot, and its account group in the line of the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.clock import SystemClock
from orchestrator.simulator import Simulator, example_world, serve
from tests.support.commands import ran

pytestmark = [pytest.mark.socket, pytest.mark.scaled]


@pytest.mark.parametrize("wanted", [("202701",), ("--test-name", "Checkout 1")], ids=["id", "name"])
def test_it_is_planned_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: tuple[str, ...]
) -> None:
    """By its name or its id; run again, it exists."""
    clock = SystemClock()
    world = example_world(1, 2, account_groups=2, now=clock.wall())
    (organization,) = world.organizations
    first, second = organization.account_groups
    groups = (first, replace(second, tests=(*second.tests, first.tests[0])))
    world = replace(world, organizations=(replace(organization, account_groups=groups),))
    simulator = Simulator(world, latency=(0.0, 0.0))
    monkeypatch.setenv("TE_TOKEN", "token-1")
    monkeypatch.setenv("TESNAP_STORE", f"sqlite:///{tmp_path}/store.db")
    window = ("--from", "2026-11-20T14:00Z", "--to", "2026-11-20T15:00Z")
    with serve(simulator, clock=clock) as url:
        monkeypatch.setenv("TE_BASE_URL", url)
        plan = ran("snap", *wanted, *window, "--dry-run").stdout
        made = [ran("snap", *wanted, *window) for _ in range(2)]
    assert sum("202701" in line for line in plan.splitlines()) == 1, plan
    assert [one.code for one in made] == [0, 0]
    assert sum((entry.method, entry.test) == ("POST", "202701") for entry in simulator.log) == 1


def test_the_plan_says_in_which_account_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for in both, it is there twice, and the lines differ."""
    clock = SystemClock()
    world = example_world(1, 1, account_groups=2, now=clock.wall())
    (organization,) = world.organizations
    first, second = organization.account_groups
    world = replace(
        world,
        organizations=(replace(organization, account_groups=(first, replace(second, tests=first.tests))),),
    )
    (tmp_path / "jobs.yaml").write_text(
        """
version: 1
organizations: {acme: {token_env: TE_TOKEN, base_url: "${URL}"}}
defaults: {tests: ["202701"], windows: [{start: 2026-11-20T14:00:00Z, duration: 1h}]}
jobs:
  - {name: one, account_group: "2001"}
  - {name: two, account_group: "2002"}
"""
    )
    monkeypatch.setenv("TE_TOKEN", "token-1")
    with serve(Simulator(world, latency=(0.0, 0.0)), clock=clock) as url:
        monkeypatch.setenv("URL", url)
        plan = ran("plan", str(tmp_path / "jobs.yaml"), "--store", f"sqlite:///{tmp_path}/store.db")
    lines = [line for line in plan.stdout.splitlines() if "202701" in line]
    assert [line.split()[-1] for line in lines] == ["2001", "2002"], plan.stdout + plan.stderr
