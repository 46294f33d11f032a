"""Draw docs/report.png: the report of an incident, as a browser shows it.

Needs Chromium (or the variable CHROMIUM). Results, names and addresses are made up and the same each time; the
page is made of them by the program itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from orchestrator.core.jobs import Limit, Window, identity
from orchestrator.core.tasks import Problem, Result, Run, RunState, Snapshot, Status, Task
from orchestrator.output.report.page import Report
from orchestrator.output.report.render import write_report
from tests.support.browser import browser, find_browser

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "report.png"
WIDTH = 1000
ACME = identity("https://api.thousandeyes.com/v7", org_id="11")
START = 1_795_183_320.0  # 2026-11-20T14:02:00Z
LATENCY = 1.4
TESTS = (
    "Checkout EU",
    "Checkout US",
    "Checkout APAC",
    "Payment gateway",
    "Payment DNS",
    "Login",
    "Search",
    "Shop front page",
)
LOST = 1
"""The one whose answer was lost: its slot comes back late, after the others were used again."""


def results() -> Iterator[Result]:
    """Five at once, and the others as soon as an answered one's slot is back."""
    limit = Limit()
    first = [START + slot * 0.4 for slot in range(limit.usable)]
    again = [at + LATENCY + limit.hold for slot, at in enumerate(first) if slot != LOST]
    for position, (name, granted) in enumerate(zip(TESTS, first + again, strict=False)):
        made = Snapshot(id=f"wdi{position}c", link=link(position), test_name=name)
        yield Result(
            task=task(position, name),
            status=Status.CREATED,
            snapshot=made,
            http_status=201,
            attempts=1,
            queued_wall=START,
            granted_wall=granted,
            sent_wall=granted + 0.1,
            settled_wall=granted + LATENCY,
        )


def link(position: int) -> str:
    """An address as the API's documents show one."""
    return f"https://app.thousandeyes.com/view/tests/?testId={281_474_976_710_802 + position}&__a=1234"


def task(position: int, name: str) -> Task:
    """One of the incident's snapshots: the two hours before it began."""
    return Task(
        organization=ACME,
        organization_name="acme",
        account_group="1234",
        test_id=str(202_701 + position),
        window=Window(start=int(START) // 60 * 60 - 7260, end=int(START) // 60 * 60 - 60),
        is_public=False,
        test_name=name,
        display_name="INC-4711 {test} [{key}]",
        job_name="INC-4711",
        position=position,
    )


def lost(result: Result) -> Result:
    """The same without its answer."""
    problem = Problem(
        title="No answer",
        detail="The connection was reset by api.thousandeyes.com:443. It may have been created.",
    )
    return replace(result, status=Status.UNCERTAIN, snapshot=None, problem=problem, http_status=None)


def main() -> int:
    """Make the page, look at it, take the picture."""
    program = find_browser()
    if program is None:
        print("no Chromium here: install one, or name it in CHROMIUM", file=sys.stderr)
        return 1
    made = [lost(one) if at == LOST else one for at, one in enumerate(results())]
    report = Report(
        run=Run(id="k7f2", job="INC-4711", created_at=START, state=RunState.FINISHED, tasks=len(made)),
        results=tuple(made),
        zone=ZoneInfo("Europe/Berlin"),
        now=START + 640,
    )
    with TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        write_report(str(page), report)
        with browser(program, Path(folder, "profile")) as shown:
            shown.open(page, width=WIDTH)
            shown.picture(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
