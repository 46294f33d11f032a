"""The database's clock is set while a run is at work; everybody else's goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from orchestrator.core.errors import StoreUnavailable
from orchestrator.core.jobs import JobFile
from orchestrator.core.tasks import Lease
from orchestrator.store.leases import End
from orchestrator.worker.clock_guard import ClockGuard
from orchestrator.worker.worker import Worker
from tests.support.server_log import refusals
from tests.support.virtual import Notebook, PostgresClock, Stage, drive

StageMaker = Callable[..., Stage]


def run_through(
    at: Stage,
    seconds: float,
    after: float,
    guard: type[ClockGuard] = ClockGuard,
    *,
    failing: Sequence[str] = (),
) -> Notebook:
    """Ten snapshots, with the database's clock set after a while; two seconds later a second process joins.

    The `guard` is both processes': who joins compares its clock with what the first one has noted. Each of the `failing` calls of the first one's store finds it away once.
    """
    clock = at.clock
    assert isinstance(clock, PostgresClock)
    both = at.jobfile(20)
    (job,) = both.jobs
    first, second = (
        replace(both, name=name, jobs=(replace(job, tests=tests),))
        for name, tests in (("first", job.tests[:10]), ("second", job.tests[10:]))
    )
    workers: list[Worker] = []

    def join(jobfile: JobFile) -> Notebook:
        worker, notebook = at.worker(jobfile, run_id=jobfile.name)
        worker._guard.__class__ = guard
        workers.append(worker)
        return notebook

    notebook = join(first)
    for call in failing:
        away_once(workers[0], call)
    at.timeline.at(clock.boot() + after, lambda: clock.step(seconds))
    at.timeline.at(clock.boot() + after + 2.0, partial(join, second))
    endings = drive(at.timeline, workers, longest=20_000)
    assert [(ending.exit_code, ending.counts.created) for ending in endings] == [(0, 10), (0, 10)]
    return notebook


def away_once(worker: Worker, call: str) -> None:
    """Have the store be unavailable when this, such as `queue.grant`, is asked of it for the first time.

    `queue.settle of nothing sent` is its first end of an attempt that sent nothing.
    """
    name, _, method = call.partition(".")
    method, _, nothing_sent = method.partition(" of ")
    part, calls = getattr(worker._store, name), []
    real = getattr(part, method)

    def first_fails(*args: object, **options: object) -> object:
        meant = not nothing_sent or any(end.settlement is None for end in cast("Sequence[End]", args[0]))
        calls.extend([args] if meant else [])
        if meant and len(calls) == 1:
            raise StoreUnavailable("the session was cut")
        return real(*args, **options)

    setattr(part, method, first_fails)


@pytest.mark.postgres
@pytest.mark.parametrize("after", [100.0, 100.5, 301.5])
def test_a_clock_set_forward_brings_no_token_back_too_early(postgres_stage: StageMaker, after: float) -> None:
    """All slots are held for one period from the moment at which it is noticed, before anything is granted."""
    at = postgres_stage()
    notebook = run_through(at, 400.0, after)
    assert refusals(at.simulator.log) == []
    assert [event.name for event in notebook.events].count("clock.stepped") == 1


@pytest.mark.postgres
def test_a_step_is_not_forgotten_while_the_store_is_away(postgres_stage: StageMaker) -> None:
    """What could not be held when the step was seen is held before anything is granted."""
    at = postgres_stage()
    notebook = run_through(at, 400.0, 100.0, failing=["organizations.hold_all_tokens"])
    assert refusals(at.simulator.log) == []
    assert [event.name for event in notebook.events].count("clock.stepped") == 1


@pytest.mark.postgres
def test_a_grant_by_a_clock_set_forward_is_given_back_even_if_the_store_is_away(
    postgres_stage: StageMaker,
) -> None:
    """Set between the last look and the grant; what cannot be given back at once is given back later."""
    at = postgres_stage(latency=(1.375, 0.0))
    notebook = run_through(at, 400.0, 302.25, failing=["queue.settle of nothing sent"])
    assert refusals(at.simulator.log) == []
    assert "store.unavailable" in [event.name for event in notebook.events]


@pytest.mark.postgres
@pytest.mark.parametrize("after", [5.0, 18.2, 19.0])
def test_what_is_settled_after_the_clock_was_set_back_is_told(
    postgres_stage: StageMaker, after: float
) -> None:
    """Two processes share a run; what either settles is dated before what the other one has seen already."""
    at = postgres_stage(latency=(11.0, 10.0), seed=10)
    clock, jobfile = at.clock, at.jobfile(9)
    assert isinstance(clock, PostgresClock)
    workers = [at.worker(jobfile, seed=seed)[0] for seed in (10, 110)]
    at.timeline.at(clock.boot() + after, lambda: clock.step(-60.0))
    endings = drive(at.timeline, workers, longest=5_000)
    assert [(ending.exit_code, ending.counts.created) for ending in endings] == [(0, 9), (0, 9)]


@pytest.mark.postgres
def test_a_clock_set_back_costs_one_hold_and_no_more(postgres_stage: StageMaker) -> None:
    """An hour back does not keep the slots away for an hour."""
    at = postgres_stage()
    begun = at.clock.boot()
    run_through(at, -3600.0, 100.0)
    assert refusals(at.simulator.log) == []
    assert at.clock.boot() - begun < 6 * at.limit.hold


class Slewed(PostgresClock):
    """A clock beside which the database's runs at another rate."""

    rate = 1.0

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.step(seconds * (self.rate - 1.0))


def run_slewed(at: Stage, rate: float, guard: type[ClockGuard] = ClockGuard) -> Notebook:
    """Ten snapshots beside a clock that is being slewed; before their slots are free again a second process joins."""
    at.clock.__class__ = Slewed
    at.clock.rate = rate  # type: ignore[attr-defined] # of the class it has by now
    return run_through(at, 0.0, 279.0, guard)


@pytest.mark.postgres
@pytest.mark.parametrize("rate", [1.0833, 1.01])
def test_a_clock_slewed_forward_brings_no_token_back_too_early(
    postgres_stage: StageMaker, rate: float
) -> None:
    """Too little between two looks to be noticed, and half a minute over a period: all slots are held meanwhile."""
    at = postgres_stage()
    begun = at.clock.boot()
    notebook = run_slewed(at, rate)
    assert refusals(at.simulator.log) == []
    steps = [event.name for event in notebook.events].count("clock.stepped")
    assert 1 <= steps <= 4  # once per period, not once per look
    assert at.clock.boot() - begun < 8 * at.limit.hold  # a clock that always gains does not end all work


@pytest.mark.postgres
@pytest.mark.parametrize("rate", [1.0833, 1.01])
def test_a_slewed_clock_costs_what_it_gains_and_no_second_hold(
    postgres_stage: StageMaker, rate: float
) -> None:
    """The slots are held once from when it is noticed; what is gained meanwhile is made up for as it comes."""
    at = postgres_stage()
    at.clock.__class__ = Slewed
    at.clock.rate = rate  # type: ignore[attr-defined] # of the class it has by now
    begun = at.clock.boot()
    at.run(at.jobfile(15))
    assert refusals(at.simulator.log) == []
    assert at.clock.boot() - begun < 2.2 * at.limit.hold


@pytest.mark.postgres
def test_the_drift_of_two_good_clocks_holds_nothing(postgres_stage: StageMaker) -> None:
    """What NTP does to a clock is within the guard."""
    at = postgres_stage()
    notebook = run_slewed(at, 1.0005)
    assert refusals(at.simulator.log) == []
    assert "clock.stepped" not in [event.name for event in notebook.events]


class Blind(ClockGuard):
    """A guard that does not compare clocks."""

    def compare_clocks(self) -> None:
        pass

    def check_grant(self, lease: Lease) -> bool:
        return False


@pytest.mark.postgres
def test_without_the_comparison_the_server_refuses(postgres_stage: StageMaker) -> None:
    """The tests of a clock set forward see what they are there to see."""
    at = postgres_stage()
    run_through(at, 400.0, 100.0, Blind)
    assert refusals(at.simulator.log)


@pytest.mark.postgres
def test_without_the_comparison_a_slewed_clock_is_refused_too(postgres_stage: StageMaker) -> None:
    """The same for a rate that no two looks tell."""
    at = postgres_stage()
    run_slewed(at, 1.0833, Blind)
    assert refusals(at.simulator.log)


@pytest.mark.postgres
@pytest.mark.parametrize("size", [60.0, 250.0])
def test_a_clock_that_swings_costs_no_refusal(postgres_stage: StageMaker, size: float) -> None:
    """Forward, back, and forward again: what was held at the first step counts from where the second one began."""
    at = postgres_stage()
    clock, both = at.clock, at.jobfile(20)
    assert isinstance(clock, PostgresClock)
    (job,) = both.jobs
    first, second = (
        replace(both, name=name, jobs=(replace(job, tests=tests),))
        for name, tests in (("first", job.tests[:10]), ("second", job.tests[10:]))
    )
    workers, begun = [at.worker(first, run_id="first")[0]], clock.boot()

    def ask_for_a_moment() -> None:
        other, _ = at.worker(second, run_id="second")
        workers.append(other)
        at.timeline.at(clock.boot() + 5, lambda: other.ask_to_stop("SIGTERM"))

    for seconds, step in ((20, size), (40, -size), (60, size)):
        at.timeline.at(begun + seconds, partial(clock.step, step))
    at.timeline.at(begun + 45, ask_for_a_moment)
    drive(at.timeline, workers, longest=20_000)
    assert refusals(at.simulator.log) == []
