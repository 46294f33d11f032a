"""A store that does not answer for a while: nothing goes out without a durable intent, and nothing is forgotten."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.core.errors import StoreUnavailable
from orchestrator.core.jobs import RetryRules
from orchestrator.output.formats import Output
from orchestrator.output.terminal import View
from orchestrator.store.store import Store
from tests.support.server_log import refusals
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]

METHODS = [
    "queue.grant",
    "queue.mark_sending",
    "queue.settle",
    "views.results",
    "views.versions",
    "views.run",
    "queue.serve",
    "queue.recover",
    "uncertain.due",
]


def fail_between(store: Store, stage: Stage, methods: list[str], first: float, last: float) -> Store:
    """Have methods, such as `queue.grant`, fail between two moments."""

    def flaky(call: Callable[..., Any]) -> Callable[..., Any]:
        def fail_or_call(*args: Any, **kwargs: Any) -> Any:
            if first <= stage.clock.boot() < last:
                raise StoreUnavailable("the store is away")
            return call(*args, **kwargs)

        return fail_or_call

    for method in methods:
        part, _, name = method.partition(".")
        owner = getattr(store, part)
        setattr(owner, name, flaky(getattr(owner, name)))
    return store


@pytest.mark.parametrize("method", [*METHODS, "all"])
def test_a_minute_without_the_store_costs_time_and_nothing_else(stage: StageMaker, method: str) -> None:
    """Whichever call fails for a minute in the middle: every snapshot is made once and has one record."""
    at = stage(latency=(2.0, 1.0))
    methods = METHODS if method == "all" else [method]
    start = at.clock.boot()
    flaky = fail_between(at.open(), at, methods, start + 300.5, start + 360.0)
    worker, notebook = at.worker(at.jobfile(17), store=flaky)
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 17)
    assert len(notebook.results) == len({r.task.key for r in notebook.results}) == 17
    assert len([entry for entry in at.simulator.log if entry.counted]) == 17
    assert refusals(at.simulator.log) == []


def test_a_store_that_stays_away_ends_the_run_early_and_says_so(stage: StageMaker) -> None:
    """After `within` the run stops with exit code 5; what was made is in the store when it is back."""
    at = stage()
    start = at.clock.boot()
    flaky = fail_between(at.open(), at, METHODS, start + 100.0, start + 1e9)
    worker, notebook = at.worker(at.jobfile(12), store=flaky)
    (ending,) = drive(at.timeline, [worker])
    assert ending.exit_code == 5
    assert any(event.name == "store.unavailable" for event in notebook.events)
    assert at.clock.boot() - start == pytest.approx(100 + RetryRules().within, abs=120)
    ending, _ = at.run(at.jobfile(12), run_id="r1")
    assert (ending.exit_code, ending.counts.created) == (0, 12)


class Stamped(io.StringIO):
    """Standard error that notes when each line of it was written."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage, self.lines = stage, list[tuple[float, str]]()

    def write(self, text: str) -> int:
        at = self._stage.clock.boot()
        self.lines += [(at, line) for line in text.splitlines() if line]
        return super().write(text)


def test_an_hour_without_the_store_is_a_line_a_minute_at_most(stage: StageMaker) -> None:
    """What somebody reads of it afterwards; when it is back the run goes on by itself."""
    at = stage(tests=12)
    start = at.clock.boot()
    away, back = start + 100.0, start + 100.0 + RetryRules().within - 60.0
    said = Stamped(at)
    view = View(Output(stdout=io.StringIO(), stderr=said, clock=at.clock))
    worker, _ = at.worker(
        at.jobfile(12), store=fail_between(at.open(), at, METHODS, away, back), observer=view
    )
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.created) == (0, 12)
    told = [(when, line) for when, line in said.lines if away <= when < back]
    minutes = Counter(int((when - away) // 60) for when, _ in told)
    assert [line.partition(" ")[0] for _, line in told[:2]] == [
        "warning:",
        "org-1:",
    ]  # its cause, what waits for it
    assert minutes.pop(0) == 2
    assert max(minutes.values(), default=0) <= 1
