"""Plans of many snapshots: whether memory, and the cost of each, grow with the plan."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.probe import measured, peak_memory
from benchmarks.row import Row
from orchestrator.api import ConfiguredTest
from orchestrator.core import (
    CredentialSource,
    Job,
    JobFile,
    Organization,
    Run,
    Select,
    SystemClock,
    WindowSpec,
    identity,
)
from orchestrator.planning import OrganizationSurvey, Plan, make_plan
from orchestrator.planning.selection import Listing
from orchestrator.store.store import open_store

ORGANIZATIONS = 10_000
TESTS = 10
WINDOWS = (1, 10)
NOON = 1_795_003_200.0


def rows(folder: Path, organizations: int = ORGANIZATIONS, windows: Sequence[int] = WINDOWS) -> Iterator[Row]:
    """A plan of ten tests in each organization over one window and over ten, made and stored; no lists are read."""
    sizes = [organizations * TESTS * count for count in windows]
    costs, peaks = [], []
    for count in windows:
        costs.append(measured("long_plans.cost", folder / f"cost-{count}.db", organizations, count))
        peaks.append(measured("long_plans.memory", folder / f"memory-{count}.db", organizations, count))
    for what, figures, unit in (("CPU for each", costs, 1e-6), ("peak memory", peaks, 1e6)):
        name = f"planned and queued without lists over HTTP, {organizations:,} organizations"
        mark = "µs" if unit < 1 else "MB"
        for size, figure in zip(sizes, figures, strict=True):
            first = figure == figures[0]
            yield Row(
                name=f"{name}, {size:,} snapshots, {what}",
                figure=f"{figure / unit:.1f} {mark}",
                ratio=None if first else figure / figures[0],
                to="" if first else f"{sizes[0]:,} snapshots",
                target="" if first else "at most 1.3",
            )


def probe_cost(path: str, organizations: str, windows: str) -> float:
    """Seconds of processor time for each snapshot."""
    begun = time.process_time()
    return (_store_plan(path, int(organizations), int(windows)) - begun) / (
        int(organizations) * TESTS * int(windows)
    )


def probe_memory(path: str, organizations: str, windows: str) -> float:
    """Bytes at the peak."""
    _store_plan(path, int(organizations), int(windows))
    return peak_memory()


def _store_plan(path: str, organizations: int, windows: int) -> float:
    """Make a plan and store it; the processor time at the end."""
    store = open_store(path, clock=SystemClock())
    store.runs.start(Run(id="r1", job="nightly"), _plan(organizations, windows))
    store.close()
    ended = time.process_time()
    for file in Path(path).parent.glob(f"{Path(path).name}*"):
        if file.is_file():
            file.unlink()
    return ended


def _plan(organizations: int, windows: int) -> Plan:
    names = [f"org{number}" for number in range(organizations)]
    ends = (WindowSpec(end=f"2026-11-17T{at:02}:00:00Z", duration=3600.0) for at in range(windows))
    job = Job(name="nightly", organizations=tuple(names), select=Select(), windows=tuple(ends))
    known = {name: Organization(name=name, credential=CredentialSource(env="T")) for name in names}
    surveys = {name: _survey() for name in names}
    identities = {name: identity(known[name].base_url, name=name) for name in names}
    return make_plan(JobFile(name="nightly", jobs=(job,), organizations=known), surveys, identities, now=NOON)


def _survey() -> OrganizationSurvey:
    """An organization's lists as they come: none of their texts is another organization's."""
    tests = [
        ConfiguredTest(id=str(200_000 + at), name=f"Checkout {at}", type="http-server") for at in range(TESTS)
    ]
    return OrganizationSurvey(listings={"": Listing(tests={test.id: test for test in tests})})
