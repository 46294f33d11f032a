"""What a start of the command line costs: CPU of the whole process, against interpreters that do little or nothing."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.row import Row, milliseconds
from benchmarks.server import Settings, served
from benchmarks.whole import STANDARD, run_loop, run_tesnap, spend
from orchestrator.simulator import Simulator, serve
from tests.support.incident import alerting_world, install, start

ROUNDS = 11
JOBS = 5_000
INCIDENTS = 3
INCIDENT = [
    "snap",
    "--alerting",
    "--last",
    "2h",
    "--format",
    "md",
    "--per",
    "1s",
    "--guard",
    "10ms",
    "--grace",
    "500ms",
]

HEAD = """\
version: 1
organizations: {acme: {token_env: TE_TOKEN_ACME}}
windows: {outage: {start: 2026-11-20T14:00:00Z, duration: 1h}}
jobs:
"""
LOAD = "import yaml; yaml.load(open({!r}, encoding='utf-8'), Loader=yaml.CSafeLoader)"

COMPARED = (
    ("`tesnap --version`", "`python -c pass`", "5"),
    ("`tesnap --help`", "`python -c pass`", "6"),
    (f"`tesnap validate` of {JOBS:,} jobs", "PyYAML's C loader of the same file", "3"),
    ("`tesnap run` of one snapshot", "a bare `requests` loop's single post", "2.0 on 3.11, 2.8 on 3.13"),
)
"""Each start with its reference and the target."""


def rows(folder: Path) -> Iterator[Row]:
    """The starts beside their references, then the links of an incident."""
    with TemporaryDirectory(dir=folder) as name, served(Settings(latency=0.02)) as origin:
        medians = _measure(_starts(install(Path(name)), origin))
    for start_, reference, target in COMPARED:
        figure, ratio = milliseconds(medians[start_]), medians[start_] / medians[reference]
        yield Row(name=f"{start_}, CPU", figure=figure, ratio=ratio, to=reference, target=target)
    fifth = statistics.median(_until_the_fifth_link(folder / f"incident-{at}") for at in range(INCIDENTS))
    yield Row(
        name="`tesnap snap --alerting` of 500 tests, until the fifth link",
        figure=milliseconds(fifth),
        target="2 s",
    )


def _starts(place: Path, origin: str) -> Mapping[str, Callable[[], float]]:
    """Each start as a function that makes it once, and returns its CPU seconds."""
    jobs = place / "jobs.yaml"
    entry = '- {{name: job-{}, organization: acme, tests: ["{}"], windows: [outage]}}\n'
    jobs.write_text(HEAD + "".join(entry.format(at, 200_000 + at) for at in range(JOBS)), encoding="utf-8")
    starts = [
        lambda: _cpu(place, "-m", "orchestrator", "--version"),
        lambda: _cpu(place, "-c", "pass"),
        lambda: _cpu(place, "-m", "orchestrator", "--help"),
        lambda: _cpu(place, "-m", "orchestrator", "validate", f"{jobs}"),
        lambda: _cpu(place, "-c", LOAD.format(f"{jobs}")),
        lambda: run_tesnap(place, origin, 1, 1, STANDARD).cpu,
        lambda: run_loop(place, origin, 1, 1).cpu,
    ]
    names = dict.fromkeys(name for row in COMPARED for name in row[:2])
    return dict(zip(names, starts, strict=True))


def _cpu(place: Path, *arguments: str) -> float:
    return spend([sys.executable, *arguments], place).cpu


def _measure(starts: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each; in turns, so that what else the machine does hits all alike."""
    took: dict[str, list[float]] = {name: [] for name in starts}
    for _ in range(ROUNDS):
        for name, start_ in starts.items():
            took[name].append(start_())
    return {
        name: statistics.median(times[1:]) for name, times in took.items()
    }  # the first one makes byte code


def _until_the_fifth_link(folder: Path) -> float:
    """From an empty store, against a server on loopback that answers after 20 ms."""
    folder.mkdir()
    installed = install(folder)
    with serve(Simulator(alerting_world(), period=1.0, latency=(0.020, 0.0))) as url:
        environ = {"TE_TOKEN": "token-1", "TE_BASE_URL": url}
        started = start(installed, *INCIDENT, environ=environ)
    links = [seconds for seconds, line in started.lines if "https://" in line]
    return links[4]
