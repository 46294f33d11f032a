"""The commands `report` and `list`: what they take from the store and the command line."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import click
import pytest

from orchestrator.cli.commands import tesnap
from orchestrator.cli.report import load_report, parse_made_since
from orchestrator.core.errors import UsageError
from orchestrator.windows.durations import DAY
from tests.support.reports import (
    ACME,
    RUN,
    START,
)
from tests.support.shelf import shelf

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_report_is_made_of_what_the_store_has_now() -> None:
    """The command's report has the store's results, calendar and limits."""
    with click.Context(tesnap):
        made = load_report(shelf(1), RUN, zone=BERLIN, show_links=True)  # type: ignore[arg-type]  # as above
    assert (made.run, made.now, len(made.results)) == (RUN, START + 40 * DAY, 1)
    assert made.holds == {ACME: 3.01}


def test_made_since_is_a_moment_or_so_long_ago() -> None:
    """`7d`, `2h ago` and a clock time are all understood, and nonsense is named."""
    assert parse_made_since(None, START, None) is None
    assert parse_made_since("7d", START, None) == START - 7 * DAY
    assert parse_made_since("2h ago", START, "UTC") == START - 7200
    assert parse_made_since("13:30", START, "UTC") == START - 1800
    with pytest.raises(UsageError, match="--made-since: 'whenever' is not a time"):
        parse_made_since("whenever", START, None)
