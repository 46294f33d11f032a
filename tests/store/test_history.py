"""Looks at all runs and snapshots together, and the counts of runs that have ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.core.tasks import Counts, Lease, Run, RunState, Snapshot
from orchestrator.store import history_sql
from orchestrator.store.store import Store
from tests.store.world import BASE_URL, FAILED, LIMIT, UNCERTAIN, World, created, task
from tests.support.single import settle
from tests.support.statements import Recorded


def test_every_snapshot_is_listed_once_the_latest_first(world: World) -> None:
    """With the run that made it, also when a second run refers to it."""
    identity = world.begin(4)
    for _ in range(3):
        world.make(identity)
        world.advance(1)
    world.begin(4, run="r2")
    found = list(world.store.history.snapshots())
    assert [(made.run_id, made.result.task.test_id) for made in found] == [
        ("r1", "2"),
        ("r1", "1"),
        ("r1", "0"),
    ]
    latest = found[0].result.settled_wall
    assert latest is not None
    assert list(world.store.history.snapshots(settled_since=latest)) == found[:1]


def test_the_limits_in_use_are_those_of_organizations_that_a_live_run_makes_snapshots_of(
    world: World,
) -> None:
    """A process may hold a credential of which its run needs nothing: what was granted there before is history."""
    globex = world.store.organizations.join(BASE_URL, "globex", None)
    world.store.runs.start(Run(id="r0", job="nightly"), world.tasks(1, globex))
    world.store.queue.serve("r0", [globex])
    world.make(globex, "r0")
    world.store.queue.serve("r0", ())
    acme = world.begin(2)
    world.store.queue.serve("r1", [acme, globex])
    world.make(acme)
    assert world.store.history.limits_in_use() == {acme: LIMIT}


# -- the counts of runs that have ended --------------------------------------------------------------------

Act = Callable[[World, Lease], object]


def ended_run(world: World) -> Lease:
    """A run with a task of each end, all of which is settled; the lease of the uncertain one."""
    acme = world.begin(1, run="r0")
    world.make(acme, "r0")
    refused = task(4, acme, refusal="no such test")
    world.store.runs.start(Run(id="r1", job="nightly"), [*world.tasks(4, acme), refused])
    world.store.queue.serve("r1", [acme])
    world.make(acme)
    settle(world.store, world.sent(acme), FAILED)
    lost = world.sent(acme)
    settle(world.store, lost, UNCERTAIN)
    for run in ("r0", "r1"):
        world.store.runs.end(run, RunState.FINISHED)
    return lost


def kept_counts(world: World, run: str) -> bool:
    """True if a run's row has its counts."""
    with world.store._database.read() as tx:
        (row,) = tx.rows("SELECT created FROM run WHERE id = :run", run=run)
    return row["created"] is not None


def start_another(world: World, _: Lease) -> None:
    """Another run of the same tasks queues the failed one again."""
    world.begin(4, run="r2")


def make_it_elsewhere(world: World, _: Lease) -> None:
    """Another run makes what had failed."""
    world.make(world.begin(4, run="r2"), "r2")


def learn_whose_it_is(world: World, _: Lease) -> None:
    """Two organizations turn out to be one, and the failed task gives way to the other's."""
    true = world.store.organizations.join(BASE_URL, "acme-prod", "77")
    world.store.runs.start(Run(id="r2", job="nightly"), [task(2, true)])
    world.store.organizations.join(BASE_URL, "acme", "77")


AFTERWARDS: dict[str, Act] = {
    "failed ones are tried again": lambda world, _: world.store.runs.retry_failed("r1"),
    "a hand says that it was made": lambda world, lost: world.store.uncertain.settle_by_hand(
        "r1", lost.task.key, made=Snapshot(id="55")
    ),
    "a hand says that it was not made": lambda world, lost: world.store.uncertain.settle_by_hand(
        "r1", lost.task.key, made=None
    ),
    "evidence is found": lambda world, lost: world.store.uncertain.conclude(lost, found=Snapshot(id="55")),
    "it is sent once more": lambda world, lost: world.store.uncertain.conclude(lost, found=None, resend=True),
    "its answer comes after all": lambda world, lost: settle(world.store, lost, created(lost)),
    "another run starts": start_another,
    "another run makes it": make_it_elsewhere,
    "it belongs to another organization": learn_whose_it_is,
}
"""What changes a task of a run that has ended."""


def test_a_run_that_has_ended_is_not_counted_again(world: World) -> None:
    """Its row has its counts; a list of runs reads no task of it."""
    ended_run(world)
    database = Recorded(world.store._database)
    total = next(one.total for one in Store(database).history.runs() if one.run.id == "r1")
    assert total == Counts(created=1, existing=1, failed=2, refused=1, uncertain=1)
    assert total == world.store.views.run("r1").total
    assert history_sql.TOTALS not in [statement for statement, _ in database.asked]


@pytest.mark.parametrize("act", AFTERWARDS.values(), ids=AFTERWARDS)
def test_a_run_is_counted_anew_when_a_task_of_it_changes(world: World, act: Act) -> None:
    """Whoever changes it, in whichever run, and however the run had ended."""
    lost = ended_run(world)
    assert kept_counts(world, "r1")
    assert kept_counts(world, "r0")
    act(world, lost)
    assert not kept_counts(world, "r1")
    for one in world.store.history.runs():
        assert one.total == world.store.views.run(one.run.id).total


def test_a_run_that_ends_once_more_keeps_its_counts_again(world: World) -> None:
    """Those of then."""
    lost = ended_run(world)
    world.store.uncertain.settle_by_hand("r1", lost.task.key, made=Snapshot(id="55"))
    assert world.store.runs.retry_failed("r1") == 1
    world.make(lost.task.organization)
    world.store.runs.end("r1", RunState.FINISHED)
    assert kept_counts(world, "r1")
    (total,) = (one.total for one in world.store.history.runs() if one.run.id == "r1")
    assert total == Counts(created=3, existing=1, failed=1, refused=1)


@pytest.mark.parametrize("state", [RunState.ACTIVE, RunState.CANCELLED, RunState.FINISHED])
def test_a_run_with_something_pending_keeps_no_counts(world: World, state: RunState) -> None:
    """They would not be true for long."""
    world.make(world.begin(2))
    world.store.runs.end("r1", state)
    assert not kept_counts(world, "r1")
    assert [one.total for one in world.store.history.runs()] == [Counts(created=1, queued=1)]


def test_a_list_of_runs_is_read_page_by_page(world: World) -> None:
    """All of them come, and no more is read than is taken."""
    world.begin(1, run="r0")
    for number in range(1, 45):
        world.store.runs.start(Run(id=f"r{number}", job="nightly", created_at=number // 3), [])
    database = Recorded(world.store._database)
    runs = Store(database).history.runs()
    shown = [next(runs).run.id for _ in range(20)]
    assert [statement for statement, _ in database.asked].count(history_sql.RUNS_BEFORE) == 1
    rest = [one.run.id for one in runs]
    assert len({*shown, *rest}) == len(shown) + len(rest) == 45
    last = world.store.views.find_run(shown[-1])
    assert world.store.history.count_runs(before=last) == len(rest)
    assert world.store.history.count_runs(before=last, most=7) == 7
