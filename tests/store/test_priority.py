"""Priority over all live runs of a store."""

from __future__ import annotations

import pytest

from orchestrator.core.jobs import Priority
from orchestrator.core.tasks import Reason, Run, RunState
from orchestrator.ratelimit.bucket import STARVED_PERIODS
from orchestrator.store.store import Store
from orchestrator.store.views import ServingProcess
from tests.store.world import BASE_URL, LIMIT, World, priorities, task

INCIDENT, NORMAL, BATCH = Priority


def other_run(world: World, priority: Priority, count: int = 3) -> tuple[str, Store]:
    """A run "r2" of that class, served by a process of its own."""
    store = world.open()
    acme = store.organizations.join(BASE_URL, "acme", None)
    tasks = [task(1000 + number, acme, priority=priority, position=number) for number in range(count)]
    store.runs.start(Run(id="r2", job="other"), tasks)
    store.queue.serve("r2", [acme])
    return acme, store


def test_a_higher_class_goes_first_within_a_run(world: World) -> None:
    """Incident before normal before batch, wherever they stand in the plan."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.store.runs.start(Run(id="r1", job="nightly"), priorities(acme, BATCH, NORMAL, INCIDENT))
    assert [world.lease(acme).task.priority for _ in range(3)] == [INCIDENT, NORMAL, BATCH]


def test_a_run_waits_for_a_higher_class_of_another_live_run(world: World) -> None:
    """And goes on when that has nothing due any more."""
    acme = world.begin(priority=BATCH)
    _, other = other_run(world, INCIDENT, count=1)
    assert world.wait(acme).reason is Reason.OTHER_RUN
    world.make(acme, "r2", other)
    world.lease(acme)


def test_a_run_that_nobody_serves_holds_nobody_back(world: World) -> None:
    """Not before it is served, not for another organization, and not when its process has died."""
    acme = world.begin(priority=BATCH)
    _, other = other_run(world, INCIDENT)
    other.queue.serve("r2", [])
    world.lease(acme)
    other.queue.serve("r2", [acme])
    world.wait(acme)
    world.crash(other)
    world.lease(acme)


def test_a_finished_run_holds_nobody_back(world: World) -> None:
    """Only active ones do."""
    acme = world.begin(priority=BATCH)
    _, other = other_run(world, INCIDENT)
    other.runs.end("r2", RunState.CANCELLED)
    world.lease(acme)


@pytest.mark.parametrize("merged", [False, True])
def test_what_is_refused_to_a_run_holds_nobody_back(world: World, *, merged: bool) -> None:
    """Nobody who lives may send it; another process that may, holds back again, and so does another group."""
    acme = world.begin(priority=BATCH)
    _, other = other_run(world, INCIDENT)
    other.queue.serve("r2", [acme], refused={acme: [("1", False)]})
    if merged:
        other.organizations.join(BASE_URL, "acme", "77")
    world.lease(acme)
    third = world.open()
    third.queue.serve("r2", [acme], refused={acme: [("1", True), ("2", False)]})
    assert world.wait(acme).reason is Reason.OTHER_RUN
    third.queue.serve("r2", [])
    world.lease(acme)


@pytest.mark.parametrize("merged", [False, True])
def test_a_run_whose_processes_send_nothing_holds_nobody_back(world: World, *, merged: bool) -> None:
    """Their token is refused, say; one that sends is enough to hold back again."""
    acme = world.begin(priority=BATCH)
    _, other = other_run(world, INCIDENT)
    other.queue.serve("r2", [acme], stopped={acme: Reason.TOKEN_REFUSED})
    if merged:
        other.organizations.join(BASE_URL, "acme", "77")
    world.lease(acme)
    third = world.open()
    third.queue.serve("r2", [acme])
    assert world.wait(acme).reason is Reason.OTHER_RUN


def test_what_live_processes_declare_can_be_read(world: World) -> None:
    """By anybody, of one run, by organization; what a dead one had declared is gone."""
    acme = world.begin()
    kinds = frozenset({("a/b", True), ("", False)})
    other = world.open()
    other.queue.serve("r1", [acme], refused={acme: kinds}, stopped={acme: Reason.API_UNREACHABLE})
    hindered = ServingProcess(refused=kinds, stopped=Reason.API_UNREACHABLE)
    assert sorted(world.store.views.serving_processes("r1")[acme], key=str) == sorted(
        [ServingProcess(), hindered], key=str
    )
    assert world.store.views.serving_processes("r2") == {}
    world.crash(other)
    assert world.store.views.serving_processes("r1") == {acme: [ServingProcess()]}


def test_a_task_that_is_not_due_holds_nobody_back(world: World) -> None:
    """A window that is not over uses no slot."""
    acme = world.begin(priority=BATCH)
    other = world.open()
    later = [task(1000, acme, priority=INCIDENT, ready_at=world.store.epoch() + 50)]
    other.runs.start(Run(id="r2", job="other"), later)
    other.queue.serve("r2", [acme])
    world.lease(acme)
    world.advance(50)
    world.wait(acme)


def test_equal_classes_share(world: World) -> None:
    """First come, first served."""
    acme = world.begin()
    _, other = other_run(world, NORMAL)
    world.lease(acme)
    world.lease(acme, "r2", other)


def test_since_when_a_class_is_held_back_is_stored(world: World) -> None:
    """Its wait survives the process, and ends when the higher class is gone."""
    acme = world.begin(priority=BATCH)
    _, other = other_run(world, INCIDENT, count=1)
    start = world.store.now()
    world.wait(acme)
    world.advance(10)
    world.wait(acme)
    assert world.open().organizations.bucket(acme).held == {BATCH: start}
    world.make(acme, "r2", other)
    world.lease(acme)
    assert world.store.organizations.bucket(acme).held == {}


def test_a_starved_class_gets_one_and_waits_again(world: World) -> None:
    """After three periods without a grant."""
    acme = world.begin(priority=BATCH)
    other_run(world, INCIDENT)
    world.wait(acme)
    world.advance(STARVED_PERIODS * LIMIT.per)
    world.lease(acme)
    assert world.wait(acme).until == world.store.now() + STARVED_PERIODS * LIMIT.per


def test_the_last_token_is_left_aside_for_a_starved_class_of_another_run(world: World) -> None:
    """The higher run waits for it, for a short while."""
    acme = world.begin(priority=BATCH)
    _, other = other_run(world, INCIDENT, count=12)
    world.wait(acme)
    world.advance(STARVED_PERIODS * LIMIT.per)
    for _ in range(4):
        world.lease(acme, "r2", other)
    assert world.wait(acme, "r2", other).reason is Reason.OTHER_RUN
    world.lease(acme)
