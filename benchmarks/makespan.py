"""Whole runs against the shortest that the rule allows, and against a loop that waits for a 429.

In virtual time; and once for real, over HTTP with a short period, where the program's own time shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import Row
from orchestrator.api.client import Call
from orchestrator.core.jobs import Limit
from orchestrator.simulator import Simulator, example_world
from tests.support.http import PERIOD, jobfile_for, run_over_http, simulated
from tests.support.server_log import makespan, most_in_any_window, refusals
from tests.support.virtual import ORGANIZATION_TOKENS, Stage, request

SNAPSHOTS = 200
LIMIT = Limit()
ROUNDS = (SNAPSHOTS - 1) // LIMIT.snapshots
BOUND = ROUNDS * LIMIT.hold
"""The last of them cannot be granted sooner, however quick the answers are."""

LATENCIES = {"0.02 s": (0.02, 0.01), "1 s": (1.0, 0.0), "5 to 30 s": (17.5, 12.5)}
TARGETS = {"0.02 s": "1.0006", "5 to 30 s": "1.06"}
NAIVE_WAIT = 300.0
OVER_HTTP = 30
"""Snapshots of the run over HTTP: a few seconds of real time."""


def rows(folder: Path) -> Iterator[Row]:
    """At three latencies, both; then over HTTP."""
    for number, (words, latency) in enumerate(LATENCIES.items()):
        at = Stage(folder / f"makespan-{number}.db", latency=latency)
        at.run(at.jobfile(SNAPSHOTS))
        at.close()
        yield _row(f"run, {words} of latency", at.simulator, target=TARGETS.get(words, ""))
    for words, latency in LATENCIES.items():
        yield _row(f"loop, {words} of latency", _loop(latency))
    yield _row_over_http(folder)


def _row(name: str, simulator: Simulator, target: str = "") -> Row:
    took, refused = makespan(simulator.log), len(refusals(simulator.log))
    most = most_in_any_window(simulator.log, simulator.world.organizations[0].org_id, LIMIT.per)
    return Row(
        name=f"{SNAPSHOTS} snapshots, {name}: {refused} refused, at most {most} in a window",
        figure=f"{took:,.0f} s",
        ratio=took / BOUND,
        to=f"{ROUNDS} × {LIMIT.hold:g} s",
        target=target,
    )


def _row_over_http(folder: Path) -> Row:
    """A run of this process against a server of this process."""
    with simulated(tests=OVER_HTTP) as (simulator, url):
        run_over_http(simulator, jobfile_for(simulator, url), folder / "over-http.db")
    took, rounds = makespan(simulator.log), (OVER_HTTP - 1) // LIMIT.snapshots
    return Row(
        name=f"{OVER_HTTP} snapshots over HTTP, a period of {PERIOD:g} s: {len(refusals(simulator.log))} refused",
        figure=f"{took:.2f} s",
        ratio=took / (rounds * PERIOD),
        to=f"{rounds} × {PERIOD:g} s",
        target="1.05 on an idle machine",
    )


def _loop(latency: tuple[float, float]) -> Simulator:
    """What one writes first: send one after the other, and after a 429 sleep for five minutes."""
    simulator = Simulator(example_world(1, SNAPSHOTS, now=0.0), latency=latency)
    now = 1_795_000_000.0
    for test in simulator.world.organizations[0].account_groups[0].tests[:SNAPSHOTS]:
        while not _created(simulator, test.test_id, now):
            now = simulator.log[-1].answered or now
            now += NAIVE_WAIT
        now = simulator.log[-1].answered or now
    return simulator


def _created(simulator: Simulator, test: str, now: float) -> bool:
    body = b'{"displayName": "x", "isPublic": false, "startDate": "2026-11-15T00:00:00Z", "endDate": "2026-11-15T01:00:00Z"}'
    call = Call(method="POST", path=f"/tests/{test}/snapshot", query=(), body=body)
    exchange = simulator.accept(request(call, ORGANIZATION_TOKENS.format(1)), now)
    simulator.process(exchange, exchange.process_at)
    return simulator.log[-1].status == 201
