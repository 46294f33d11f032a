"""Alert rules and dashboard: checked by Prometheus' own tool, and against the metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator.output.metrics import HELP
from tests.support.programs import find_program

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "prometheus"
RULES, TESTS = FOLDER / "tesnap.rules.yml", FOLDER / "tesnap.rules.test.yml"
DASHBOARD = FOLDER / "grafana-dashboard.json"

METRIC = re.compile(r"\btesnap_\w+")


def alerts() -> dict[str, dict[str, object]]:
    """The rules by the names of their alerts."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@pytest.mark.process
@pytest.mark.parametrize(
    "words", [("check", "rules", RULES.name), ("test", "rules", TESTS.name)], ids=" ".join
)
def test_the_rules_pass_prometheus_own_checks(words: tuple[str, ...]) -> None:
    """Their syntax, and the series with which each of them fires or does not."""
    command = [str(find_program("promtool", "prometheus")), *words]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_is_tested() -> None:
    """Each of them fires in at least one of the tests."""
    tested = {
        case["alertname"]
        for test in yaml.safe_load(TESTS.read_text("utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert tested == alerts().keys()


def expressions() -> Iterator[str]:
    """Every query of the rules and the dashboard."""
    yield from (str(rule["expr"]) for rule in alerts().values())
    board = json.loads(DASHBOARD.read_text("utf-8"))
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])
    yield from (one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query")


def test_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    """A misspelt one never fires, and nobody would see why."""
    asked = {metric for expression in expressions() for metric in METRIC.findall(expression)}
    assert asked <= HELP.keys()
    own = {name for name in HELP if name.startswith("tesnap_last_")}
    assert asked >= own - {"tesnap_last_run_duration_seconds"}


def test_the_commands_in_the_rules_are_commands() -> None:
    """What a rule advises can be typed."""
    from orchestrator.cli import COMMANDS

    texts = " ".join(str(rule["annotations"]) for rule in alerts().values())
    assert set(re.findall(r"`tesnap (\w+)", texts)) <= COMMANDS.keys()


def test_the_dashboard_has_a_panel_for_each_id() -> None:
    """Grafana drops panels whose ids are not their own."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
