"""A run's results as a store gives them, for what is made of them afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from orchestrator.core.jobs import Limit, Priority, Window, identity
from orchestrator.core.tasks import Problem, Result, Run, RunState, Snapshot, Status, Task
from orchestrator.output.report.page import Report

BERLIN = ZoneInfo("Europe/Berlin")
BASE = "https://api.example.com/v7"
START = 1_795_183_200.0  # 2026-11-20T14:00:00Z
ACME, GLOBEX = (identity(BASE, org_id=number) for number in ("11", "22"))
NAMES = {ACME: "acme", GLOBEX: "globex"}
RUN = Run(id="k7f2", job="nightly-edge", files=("jobs.yaml",), created_at=START, state=RunState.FINISHED)
TESTS = ("Checkout EU", "Payments API", "Login page Frankfurt", "DNS trace www", "Search APAC")


def task(position: int, *, organization: str = ACME, **changes: object) -> Task:
    """A task at this place of the plan, each with a test of its own."""
    plain = Task(
        organization=organization,
        organization_name=NAMES.get(organization, organization),
        account_group="1234",
        test_id=str(202_701 + position),
        window=Window(start=int(START) - 7200, end=int(START)),
        is_public=False,
        test_name=f"{TESTS[position % len(TESTS)]} {position + 1:02}",
        display_name="{test} [{key}]",
        job_name="checkout",
        priority=Priority.INCIDENT,
        position=position,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the caller names fields of a task


def created(
    position: int, at: float, *, organization: str = ACME, link: str | None = None, **changes: object
) -> Result:
    """A snapshot that was queued at the start and went out `at` seconds after it."""
    wanted = task(position, organization=organization)
    made = Snapshot(
        id=f"s{position}",
        link=link
        or f"https://s{position}.share.thousandeyes.com/view/tests/?roundId={int(START)}&n={position}",
    )
    plain = Result(
        task=wanted,
        status=Status.CREATED,
        snapshot=made,
        http_status=201,
        attempts=1,
        queued_wall=START,
        granted_wall=START + at,
        sent_wall=START + at + 0.1,
        settled_wall=START + at + 1.3,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the caller names fields of a result


def failed(
    position: int, at: float, *, organization: str = ACME, detail: str = "Validation failed"
) -> Result:
    """A snapshot that the API refused to make."""
    problem = Problem(
        title="Bad Request", detail=detail, fields=(("startDate", "is before the test was made"),)
    )
    return created(
        position,
        at,
        organization=organization,
        status=Status.FAILED,
        snapshot=None,
        problem=problem,
        http_status=400,
    )


def uncertain(position: int, at: float) -> Result:
    """A snapshot whose answer was lost."""
    problem = Problem(title="no answer", detail="the connection was reset by api.example.com:443")
    return created(position, at, status=Status.UNCERTAIN, snapshot=None, problem=problem, http_status=None)


def pending(position: int, *, organization: str = ACME, ready_at: float = 0.0) -> Result:
    """A snapshot that waits."""
    return Result(
        task=task(position, organization=organization, ready_at=ready_at),
        status=Status.QUEUED,
        queued_wall=START,
    )


def paced(count: int, *, organization: str = ACME, first: int = 0) -> Iterator[Result]:
    """As many snapshots as a bucket of five lets out: each group one hold after the answers of the one before."""
    limit = Limit()
    for number in range(count):
        group, slot = divmod(number, limit.usable)
        yield created(first + number, group * (limit.hold + 1.3) + slot * 0.4, organization=organization)


def mixed() -> list[Result]:
    """A run of two organizations with a bit of everything."""
    made = list(paced(15))
    made[3] = failed(3, 1.2)
    made[7] = uncertain(7, 303.1)
    made[12] = replace(made[12], made_here=False)
    late = [
        replace(one, task=replace(one.task, ready_at=START + 200))
        for one in paced(7, organization=GLOBEX, first=20)
    ]
    late = [
        replace(one, granted_wall=at + 200, sent_wall=at + 200.1, settled_wall=at + 201.4)
        for one in late
        if (at := one.granted_wall)
    ]
    return [*made, *late, pending(40, ready_at=START + 3600), pending(41)]


def report(results: Iterable[Result], **changes: Any) -> Report:
    """A report of these results, 25 minutes after the start, read in Berlin."""
    return Report(results=tuple(results), **{"run": RUN, "zone": BERLIN, "now": START + 1500, **changes})
