"""Whole runs over HTTP, against the simulator on loopback, in shortened real time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.api.credentials import Bearer
from orchestrator.app.make_snapshots import RunOptions, prepare, start_run
from orchestrator.app.organizations import Organizations
from orchestrator.core.clock import SystemClock
from orchestrator.core.events import Ending
from orchestrator.core.jobs import (
    CredentialSource,
    Http,
    Job,
    JobFile,
    Limit,
    Organization,
    RetryRules,
    TestRef,
    WindowSpec,
)
from orchestrator.simulator import Simulator, example_world, serve
from orchestrator.store.store import open_store
from tests.support.virtual import Notebook

PERIOD = 3.0
SCALED = Limit(per=PERIOD, guard=0.010, grace=0.500)
TIMEOUT = 5.0
"""Seconds of an attempt where answers are lost on purpose: what follows waits for as long."""

UNHURRIED = 60.0
"""Seconds of an attempt where every answer comes, however busy the machine is."""

PROMPT = (0.020, 0.010)


@contextmanager
def simulated(
    *,
    tests: int = 30,
    organizations: int = 1,
    tokens: int = 1,
    latency: tuple[float, float] = PROMPT,
    switches: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Iterator[tuple[Simulator, str]]:
    """A simulator on loopback with a period of three seconds, and its base URL."""
    clock = SystemClock()
    world = example_world(organizations, tests, tokens=tokens, now=clock.wall(), **(switches or {}))
    simulator = Simulator(world, period=PERIOD, latency=latency, **settings)
    with serve(simulator, clock=clock, hang=TIMEOUT + 1) as url:
        yield simulator, url


def jobfile_for(
    simulator: Simulator, url: str, *, limit: Limit = SCALED, timeout: float = UNHURRIED, **job: Any
) -> JobFile:
    """A job file for every test of every organization of the simulator."""
    organizations = {
        org.name: Organization(
            name=org.name, credential=CredentialSource(env=org.name), base_url=url, limit=limit
        )
        for org in simulator.world.organizations
    }
    jobs = tuple(
        Job(
            name=org.name,
            organizations=(org.name,),
            tests=tuple(TestRef(id=test.test_id) for test in org.account_groups[0].tests),
            **{"windows": (WindowSpec(last=3600.0),), **job},
        )
        for org in simulator.world.organizations
    )
    return JobFile(
        name="scaled",
        jobs=jobs,
        organizations=organizations,
        http=Http(timeout=timeout),
        retry=RetryRules(within=600.0),
    )


def known_bearers(simulator: Simulator) -> Mapping[str, Bearer]:
    """A credential for each organization."""
    return {org.name: Bearer(f"token-{at}") for at, org in enumerate(simulator.world.organizations, start=1)}


def run_over_http(
    simulator: Simulator,
    jobfile: JobFile,
    place: Path | str,
    *,
    bearers: Mapping[str, Bearer] | None = None,
    **begin: Any,
) -> tuple[Ending, Notebook]:
    """Run a job file in this process, for real but for the period."""
    clock, notebook = SystemClock(), Notebook()
    store = open_store(str(place), clock=clock)
    known = bearers or known_bearers(simulator)
    organizations = Organizations(
        jobfile, store=store, clock=clock, environ={}, read=lambda organization: known[organization.name]
    )
    try:
        preparation = prepare(organizations, RunOptions(**{"seed": 0, **begin}), notebook)
        return start_run(preparation, notebook).work(), notebook
    finally:
        organizations.close()
        store.close()
