"""What `plan` foretells is what `run` does: the same order and the same times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.core.clock import utc_text
from orchestrator.core.errors import SelectionError
from orchestrator.core.jobs import Job, Limit, Pace, Priority, Select, TestRef, WindowSpec
from orchestrator.ratelimit.bucket import Bucket
from orchestrator.ratelimit.forecast import forecast_starts
from orchestrator.simulator import Simulator
from tests.support.virtual import Notebook, Stage

StageMaker = Callable[..., Stage]


def order_and_times(at: Stage) -> list[tuple[str | None, float]]:
    """Which test's request arrived when, in seconds since the first one; at one moment in the order of ids."""
    posts = sorted((e for e in at.simulator.log if e.method == "POST"), key=lambda e: (e.arrived, e.test))
    return [(entry.test, round(entry.arrived - posts[0].arrived, 3)) for entry in posts]


def foretold(at: Stage, notebook: Notebook, limit: Limit) -> list[tuple[str | None, float]]:
    """The same from the forecast, made for an untouched bucket."""
    tasks = [replace(result.task) for result in notebook.results]
    run = notebook.runs[0]
    starts = forecast_starts(
        tasks, Bucket(tokens=(), held={}), limit, now=0.0, epoch=run.created_at, latency=1.0
    )
    starts.sort(key=lambda start: (start.after or 0.0, start.task.test_id))
    first = starts[0].after or 0.0
    return [(start.task.test_id, round((start.after or 0.0) - first, 3)) for start in starts]


@pytest.mark.parametrize(
    "limit", [Limit(), Limit(use=2), Limit(pace=Pace.EVEN)], ids=["burst", "use-2", "even"]
)
def test_plan_and_run_agree(stage: StageMaker, limit: Limit) -> None:
    """Three priorities, a window that is not over: every request goes out when the plan said it would."""
    at = stage(tests=40, limit=limit)
    ids = [test.test_id for test in at.simulator.world.organizations[0].account_groups[0].tests]
    name = at.simulator.world.organizations[0].name
    last, now = WindowSpec(last=3600.0), at.clock.wall()
    soon = WindowSpec(start=utc(now - 1800), end=utc(now + 1800))

    def job(kind: Priority, numbers: slice, window: WindowSpec) -> Job:
        tests = tuple(TestRef(id=test) for test in ids[numbers])
        return Job(name=kind.word, organizations=(name,), tests=tests, windows=(window,), priority=kind)

    jobs = [
        job(Priority.BATCH, slice(0, 12), last),
        job(Priority.NORMAL, slice(12, 24), last),
        job(Priority.INCIDENT, slice(24, 36), soon),
        job(Priority.INCIDENT, slice(36, 40), last),
    ]
    ending, notebook = at.run(at.jobfile(0, jobs=jobs))
    assert ending.counts.created == 40
    assert order_and_times(at) == foretold(at, notebook, limit)


def utc(epoch: float) -> str:
    """An instant to the minute, as a job file has it."""
    return utc_text(epoch // 60 * 60)


@pytest.mark.parametrize("order", [1, -1], ids=["plain-first", "guarded-first"])
def test_a_name_that_one_job_expects_holds_for_every_job_that_wants_the_snapshot(
    stage: StageMaker, order: int
) -> None:
    """Two jobs want the same snapshot, one of them only of a test of another name: it is not made."""
    at = stage(tests=1)
    (organization,) = at.simulator.world.organizations
    test = organization.account_groups[0].tests[0].test_id
    refs = [TestRef(id=test), TestRef(id=test, test_name="NOT THIS ONE")][::order]
    jobs = [
        Job(
            name=f"j{n}", organizations=(organization.name,), tests=(ref,), windows=(WindowSpec(last=3600.0),)
        )
        for n, ref in enumerate(refs)
    ]
    ending, _ = at.run(at.jobfile(0, jobs=jobs))
    assert (ending.counts.created, ending.counts.failed) == (0, 1)
    assert [entry for entry in at.simulator.log if entry.method == "POST"] == []


def test_only_the_templates_own_key_is_filled_in(stage: StageMaker) -> None:
    """A test or a job may be called `{key}`, and a template may have braces of its own."""
    at = stage(tests=1)
    (organization,) = at.simulator.world.organizations
    group = organization.account_groups[0]
    named = replace(group, tests=(replace(group.tests[0], name="{key} {test}"),))
    world = replace(at.simulator.world, organizations=(replace(organization, account_groups=(named,)),))
    at.simulator = Simulator(world, latency=(1.0, 0.0))
    _, notebook = at.run(at.jobfile(1, display_name="{test} {{key}} [{key}]"))
    (result,) = notebook.results
    assert result.task.title() == f"{{key}} {{test}} {{key}} [{result.task.short_key}]"
    assert [e.display_name for e in at.simulator.log if e.method == "POST"] == [result.task.title()]


def test_more_snapshots_than_a_run_may_have_are_refused_before_they_are_made(stage: StageMaker) -> None:
    """Selected tests times windows: no run can make so many."""
    at = stage(tests=101)
    (organization,) = at.simulator.world.organizations
    windows = tuple(
        WindowSpec(start=utc(3600 * n), end=utc(3600 * n + 3600)) for n in range(490_000, 500_000)
    )
    job = Job(
        name="all", organizations=(organization.name,), select=Select(test_name=("*",)), windows=windows
    )
    with pytest.raises(SelectionError, match=r"more than 1,000,000 snapshots are asked for"):
        at.run(at.jobfile(0, jobs=[job]))
