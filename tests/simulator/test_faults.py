"""Faults are named, planned, and strike as planned."""

from __future__ import annotations

import random

import pytest

from orchestrator.simulator import Fault, FaultPlan, ordinary_faults, parse_faults, script_faults
from orchestrator.simulator.__main__ import main


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("reset-before", Fault("reset", after=False)),
        ("reset", Fault("reset", after=True)),
        ("hang", Fault("hang", after=True)),
        ("500", Fault("500", after=False)),
        ("502-after", Fault("502", after=True)),
        ("html", Fault("html", after=False)),
        ("cut-head-before", Fault("cut-head", after=True)),
        ("drip", Fault("drip", after=True)),
    ],
)
def test_a_fault_is_read_from_its_name(text: str, fault: Fault) -> None:
    """Each kind has a default for whether the origin acted, and some leave no choice."""
    assert Fault.parse(text) == fault
    assert Fault.parse(str(fault)) == fault


@pytest.mark.parametrize("text", ["restet", "50", "5000", ""])
def test_an_unknown_fault_is_refused(text: str) -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match="cut-body"):
        Fault.parse(text)


def test_a_plan_is_read_from_one_line() -> None:
    """As --faults takes it."""
    plan = parse_faults("reset-after=0.25, 500=0.5,foreign-rate=0.01")
    assert plan.rates == {Fault("reset", after=True): 0.25, Fault("500", after=False): 0.5}
    assert plan.foreign_rate == 0.01
    assert parse_faults("ordinary") == ordinary_faults()
    assert parse_faults("") == FaultPlan()


def test_rates_are_shares() -> None:
    """They cannot add up to more than everything."""
    with pytest.raises(ValueError, match="at most 1"):
        parse_faults("500=0.6,502=0.6")


@pytest.mark.parametrize("text", ["500=nan", "foreign-rate=inf", "500=x", "500", "500=-1"])
def test_a_rate_is_a_number(text: str) -> None:
    """Each that is none is named."""
    with pytest.raises(ValueError, match=r"share|not below zero"):
        parse_faults(text)


@pytest.mark.parametrize("text", ["cut=0.1", "500=2", "500"])
def test_a_wrong_fault_on_the_command_line_is_wrong_usage(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what there is instead of it, and no traceback."""
    with pytest.raises(SystemExit) as ended:
        main(["--faults", text])
    assert ended.value.code == 2
    assert "argument --faults: " in capsys.readouterr().err


def test_rates_are_kept() -> None:
    """Of many POSTs each fault gets its share, and GETs are spared."""
    plan, chance = parse_faults("500=0.1,reset=0.3"), random.Random(1)
    struck = [plan.choose("POST", n, chance.random()) for n in range(1, 10_001)]
    assert struck.count(Fault("500", after=False)) == pytest.approx(1000, rel=0.1)
    assert struck.count(Fault("reset", after=True)) == pytest.approx(3000, rel=0.1)
    assert plan.choose("GET", 1, 0.0) is None


def test_a_script_comes_first() -> None:
    """The nth POST gets the nth fault; after the script all is well."""
    plan = script_faults([None, "cut-body"])
    assert [plan.choose("POST", n, 0.0) for n in (1, 2, 3)] == [None, Fault("cut-body", after=True), None]
