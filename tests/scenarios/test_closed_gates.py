"""Refusals (429) over a whole run: until when nothing goes out, and what the user is told."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate

import pytest

from orchestrator.core.events import Event
from orchestrator.ratelimit.bucket import GATE_JITTER
from orchestrator.simulator import Exchange, Reply, Simulator, script_faults
from tests.support.virtual import Notebook, Stage, VirtualGetter

StageMaker = Callable[..., Stage]
PERIOD = 300.0
SPENT = "X-Organization-Rate-Limit-Remaining"
RESET = "X-Organization-Rate-Limit-Reset"


class Refusing(Simulator):
    """A server that says more in its refusals: headers, which may depend on the moment of the answer."""

    says: Callable[[float], Mapping[str, str]] = staticmethod(lambda _: {})

    def process(self, exchange: Exchange, at: float) -> Reply | None:
        reply = super().process(exchange, at)
        if reply is None or reply.status != 429:
            return reply
        return replace(reply, headers={**reply.headers, **self.says(exchange.answer_at)})


def refusing(at: Stage, says: Callable[[float], Mapping[str, str]]) -> None:
    """Have the server say this when it refuses."""
    at.simulator.__class__ = Refusing
    at.simulator.says = says  # type: ignore[attr-defined] # of the class it has by now


def sent(at: Stage) -> list[float]:
    """When the requests for snapshots arrived."""
    return sorted(entry.arrived for entry in at.simulator.log if entry.method == "POST")


def waits(at: Stage) -> list[float]:
    """How long after each refusal was answered the next request arrived."""
    posts = sorted((e for e in at.simulator.log if e.method == "POST"), key=lambda entry: entry.arrived)
    return [
        later.arrived - (earlier.answered or 0.0)
        for earlier, later in itertools.pairwise(posts)
        if earlier.status == 429
    ]


def closings(notebook: Notebook) -> list[Event]:
    """What the user was told about a gate that stays closed."""
    return [event for event in notebook.events if event.name == "gate.closed"]


EXACT: Mapping[str, Callable[[float], Mapping[str, str]]] = {
    "Reset as a date": lambda now: {SPENT: "0", RESET: f"{now + 40:.0f}"},
    "Reset in seconds": lambda now: {SPENT: "0", RESET: "40"},
    "Retry-After in seconds": lambda now: {"Retry-After": "40"},
    "Retry-After as a date": lambda now: {"Retry-After": formatdate(now + 40, usegmt=True)},
    "both": lambda now: {SPENT: "0", RESET: "7", "Retry-After": "40"},
}


@pytest.mark.parametrize("says", EXACT.values(), ids=EXACT)
def test_a_server_that_says_when_is_asked_again_exactly_then(
    stage: StageMaker, says: Callable[[float], Mapping[str, str]]
) -> None:
    """Not before, not a period later, and however often it says so the wait does not double."""
    at = stage(tests=8, faults=script_faults([None, *["429-before"] * 3]))  # with both snapshots that is five
    refusing(at, says)
    ending, notebook = at.run(at.jobfile(2))
    assert (ending.exit_code, ending.counts.created) == (0, 2)
    assert {result.attempts for result in notebook.results} == {1}
    assert waits(at) == [40.0, 40.0, 40.0]
    assert closings(notebook) == []


@pytest.mark.parametrize(
    "says", [lambda now: {}, lambda now: {SPENT: "17", RESET: "5"}], ids=["nothing", "room"]
)
def test_a_refusal_that_does_not_say_when_waits_for_a_period(
    stage: StageMaker, says: Callable[[float], Mapping[str, str]]
) -> None:
    """The snapshot limit, also beside a general limit that is not used up: W and some jitter."""
    at = stage(tests=8, faults=script_faults(["429-before"]))
    refusing(at, says)
    at.run(at.jobfile(3))
    (wait,) = waits(at)
    assert PERIOD <= wait <= PERIOD * (1 + GATE_JITTER) + 1


def test_the_general_limit_as_the_server_keeps_it_costs_the_rest_of_its_minute(stage: StageMaker) -> None:
    """Somebody else's requests have used it up: one refusal, no attempt, and nothing before its window ends."""
    at = stage(tests=8)
    jobfile = at.jobfile(3)
    worker, notebook = at.worker(jobfile)
    begun = at.clock.wall()
    noisy = VirtualGetter(at.simulator, at.clock, "token-1")
    while noisy.get("/account-groups").status == 200:
        pass
    ending = worker.work()
    assert (ending.exit_code, ending.counts.created) == (0, 3)
    assert {result.attempts for result in notebook.results} == {1}
    first, second, *_ = sent(at)
    assert first == begun
    assert begun + 60 <= second <= begun + 63


def test_three_closings_in_a_row_double_the_wait_and_tell_the_user(stage: StageMaker) -> None:
    """W, W, then 2 W; the third one is told, with how many there were and when the next try is."""
    at = stage(tests=8, faults=script_faults(["429-before"] * 4))
    ending, notebook = at.run(at.jobfile(3))
    assert (ending.exit_code, ending.counts.created) == (0, 3)
    assert [round(wait / PERIOD / (1 + GATE_JITTER / 2), 1) for wait in waits(at)] == [1.0, 1.0, 2.0, 2.0]
    assert [event.fields for event in closings(notebook)] == [(("closings", 3),), (("closings", 4),)]
    told = closings(notebook)[0]
    assert told.level == "warning"
    assert "refused (429) 3 times in a row" in told.text
    assert "the next single try is in 10 min" in told.text


def test_two_closings_in_a_row_are_no_news(stage: StageMaker) -> None:
    """And an answered probe begins the count anew."""
    at = stage(tests=8, faults=script_faults(["429-before", "429-before", None, "429-before", "429-before"]))
    ending, notebook = at.run(at.jobfile(4))
    assert (ending.exit_code, ending.counts.created) == (0, 4)
    assert closings(notebook) == []


def test_a_long_wait_that_a_server_asks_for_ends_after_an_hour(stage: StageMaker) -> None:
    """A day is a mistake or a joke."""
    at = stage(tests=8, faults=script_faults(["429-before"]))
    refusing(at, lambda now: {"Retry-After": "86400"})
    ending, _ = at.run(at.jobfile(1))
    assert ending.exit_code == 0
    assert waits(at) == [3600.0]
