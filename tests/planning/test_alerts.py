"""Moments in which alerts matter to a job, and windows that start with one."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import SelectionError
from orchestrator.core.jobs import SINCE_ALERT, Fit, Job, Window, WindowSpec
from orchestrator.planning.alerts import alert_windows, windows_since_alert

NOON = 1_795_003_200
HOUR = 3600


def job(*windows: WindowSpec) -> Job:
    """A job over these windows."""
    return Job(name="night", organizations=("acme",), windows=windows)


def test_alerts_matter_in_the_windows_of_the_job() -> None:
    """Alerts matter in the windows as they are resolved, and now when there is none."""
    spec = WindowSpec(start="2026-11-18T10:30:00Z", end="2026-11-18T12:00:00Z", fit=Fit.COVER)
    assert alert_windows(job(spec), now=NOON) == (Window(start=NOON - 2 * HOUR, end=NOON),)
    assert alert_windows(job(), now=NOON + 0.5) == (Window(start=NOON, end=NOON),)


def test_a_window_since_an_alert_starts_where_the_earliest_did() -> None:
    """Alerts matter at its end, and its start is the earliest of them."""
    asked = job(WindowSpec(start=SINCE_ALERT, end="2026-11-18T12:00:00Z", fit=Fit.COVER))
    assert alert_windows(asked, now=NOON + 60) == (Window(start=NOON, end=NOON),)
    (spec,), notes = windows_since_alert(asked, [NOON - 600.0, NOON - 5000.0], now=NOON + 60)
    assert (spec.start, spec.end, notes) == ("2026-11-18T10:36:40Z", "2026-11-18T12:00:00Z", ())


def test_an_alert_from_long_ago_gives_the_longest_window_and_says_so() -> None:
    """An alert that nobody cleared for weeks does not keep the window from being made."""
    asked = job(WindowSpec(start=SINCE_ALERT, end="2026-11-18T12:00:00Z", fit=Fit.COVER))
    (spec,), (note,) = windows_since_alert(asked, [NOON - 900 * HOUR], now=NOON + 60)
    assert spec.start == "2026-11-16T12:00:00Z"
    assert "longer ago than the 48h" in note


def test_since_alert_without_an_alert_is_an_error() -> None:
    """There is no moment to start from, so a time has to be written."""
    asked = job(WindowSpec(start=SINCE_ALERT, fit=Fit.COVER))
    with pytest.raises(SelectionError, match="write a time, such as --since 14:07"):
        windows_since_alert(asked, [], now=NOON)
