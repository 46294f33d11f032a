"""The whole command as a user runs it: over HTTP, records in a file, the store on disk, the server elsewhere.

CPU for each snapshot is the slope between two sizes, so that a start costs nothing in it; beside it, in the same
run, the bare loop of `requests` against the same server.

    python -m benchmarks whole --organizations 100 --tasks 10
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from benchmarks.probe import ROOT
from benchmarks.row import Row, milliseconds
from benchmarks.server import FIRST_TEST, Settings, served, token_of
from tests.support.incident import install

CEILING = 10_000 / 60  # snapshots a second of 10,000 organizations at the API's own limit of 5 in 300 s
SLOTS = 5
SHORTEST_PERIOD = 1.0
FEWER = 5  # the smaller size has so many times fewer tasks
LOOP = 1_000  # requests of the loop

LAST_WORDS = 500  # characters of a failed command's standard error

POLL = 0.05  # seconds between two looks at a process's memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a measurement: organizations, tasks of each (a fifth of them the first time), and the server's latency.

    `per` is the limit's period in seconds; None for one in which the organizations together take what 10,000
    take at the true one. `guard` is what a token stays away longer than that, in seconds.
    """

    organizations: Sequence[int] = (100,)
    tasks: int = 10
    latency: float = 0.02
    per: float | None = None
    guard: float = 0.01

    def period(self, organizations: int) -> float:
        """The limit's period for so many organizations."""
        return self.per or max(SHORTEST_PERIOD, organizations * SLOTS / CEILING)


STANDARD = Sizes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a process took: CPU and elapsed seconds, its peak of memory in bytes."""

    cpu: float
    elapsed: float
    memory: float


def rows(folder: Path, sizes: Sizes = STANDARD) -> Iterator[Row]:  # noqa: ARG001 - the store is on disk here, not in memory
    """The loop, then the command for each number of organizations, then one snapshot alone."""
    settings = Settings(tests=sizes.tasks, latency=sizes.latency, spread=sizes.latency / 2)
    with TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as disk, served(settings) as origin:
        place = install(Path(disk))
        single, bare = _measure_loop(place, origin)
        yield Row(name="bare loop of `requests`, CPU for each snapshot", figure=milliseconds(bare))
        slopes: list[float] = []
        for organizations in sizes.organizations:
            slope, full = _measure_tesnap(place, origin, organizations, sizes)
            slopes.append(slope)
            name = f"`tesnap run`, {organizations:,} organizations of {sizes.tasks}"
            yield from _slope_rows(f"{name}, CPU for each snapshot", slopes, bare)
            yield from _full_rows(f"{name}, start included", full)
        one = run_tesnap(place, origin, 1, 1, sizes)
        yield Row(
            name="`tesnap run` of one snapshot, start included, CPU",
            figure=milliseconds(one.cpu),
            ratio=one.cpu / single.cpu,
            to="the loop's of one request, start included",
            target="2.0",
        )


def _measure_loop(place: Path, origin: str) -> tuple[Spent, float]:
    """One request of the loop in a process, and the CPU of each further one."""
    single, many = (run_loop(place, origin, 1, count) for count in (1, LOOP))
    return single, (many.cpu - single.cpu) / (LOOP - 1)


def _measure_tesnap(place: Path, origin: str, organizations: int, sizes: Sizes) -> tuple[float, Spent]:
    """CPU for each snapshot as a slope, and what the larger run took."""
    few = max(1, sizes.tasks // FEWER)
    half, full = (run_tesnap(place, origin, organizations, each, sizes) for each in (few, sizes.tasks))
    return (full.cpu - half.cpu) / (organizations * (sizes.tasks - few)), full


def _slope_rows(name: str, slopes: Sequence[float], bare: float) -> Iterator[Row]:
    first, last = slopes[0], slopes[-1]
    yield Row(name=name, figure=milliseconds(last), ratio=last / bare, to="the bare loop", target="2.5")
    if len(slopes) > 1:
        yield Row(
            name=name, figure=milliseconds(last), ratio=last / first, to="the first of these", target="1.2"
        )


def _full_rows(name: str, full: Spent) -> Iterator[Row]:
    yield Row(name=f"{name}, peak memory", figure=f"{full.memory / 1e6:.0f} MB", target="300 MB")
    figure = f"{full.cpu:.1f} s in {full.elapsed:.1f} s"
    yield Row(name=f"{name}, CPU", figure=figure, ratio=full.cpu / full.elapsed, to="one core", target="0.6")


def run_loop(place: Path, origin: str, organizations: int, tasks: int) -> Spent:
    """The bare loop, as a process of its own."""
    return spend(
        [
            sys.executable,
            "-m",
            "benchmarks.loop",
            origin,
            f"{organizations}",
            f"{tasks}",
            f"{place}/loop.jsonl",
        ],
        ROOT,
    )


def run_tesnap(
    place: Path, origin: str, organizations: int, tasks: int, sizes: Sizes, *, store: str = ""
) -> Spent:
    """`tesnap run` of so many tasks of each organization, from an empty store: this one, or a new one on the disk."""
    with TemporaryDirectory(dir=place) as name:
        home = Path(name)
        jobs = write_jobfile(home, origin, organizations, tasks, sizes)
        command = [
            sys.executable,
            "-m",
            "orchestrator",
            "run",
            f"{jobs}",
            "--json",
            "--quiet",
            "--store",
            store or f"sqlite:///{home}/store.db",
        ]
        with (home / "records.jsonl").open("w+", encoding="utf-8") as records:
            spent = spend(command, place, stdout=records.fileno())
            records.seek(0)
            *_, last = records
    made = json.loads(last)["counts"]["created"]
    if made != organizations * tasks:
        raise RuntimeError(f"{made} snapshots were made, not {organizations * tasks}")
    return spent


def write_jobfile(home: Path, origin: str, organizations: int, tasks: int, sizes: Sizes) -> Path:
    """The job file: one token file for each organization, one job of all of them."""
    (home / "tokens").mkdir()
    names = [f"customer-{number}" for number in range(1, organizations + 1)]
    for number, name in enumerate(names, start=1):
        (home / "tokens" / name).write_text(f"{token_of(number)}\n")
    tests = ", ".join(f'"{FIRST_TEST + number}"' for number in range(tasks))
    limit = (
        f"{{per: {sizes.period(organizations) * 1000:.0f}ms, guard: {sizes.guard * 1000:.0f}ms, grace: 30s}}"
    )
    path = home / "jobs.yaml"
    path.write_text(
        "version: 1\nname: nightly\n"
        f"organization_defaults: {{token_file: '{home}/tokens/{{organization}}', base_url: '{origin}/v7', limit: {limit}}}\n"
        f"organizations: {{{', '.join(f'{name}: {{}}' for name in names)}}}\n"
        f"jobs: [{{name: all, organization: '*', tests: [{tests}], windows: [{{last: 1h}}]}}]\n"
    )
    return path


def spend(command: Sequence[str], cwd: Path, stdout: int = subprocess.DEVNULL) -> Spent:
    """Run a command to its end, which has to be good; the memory is that of the process itself, not its children's."""
    environ = {
        name: text for name, text in os.environ.items() if not name.startswith(("TE_", "TESNAP_", "PYTHON"))
    }
    began, peak = time.monotonic(), 0.0
    with TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=cwd, stdout=stdout, stderr=errors, env=environ)  # noqa: S603
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak = max(peak, _peak_of(process.pid))
            time.sleep(POLL)
        _, status, used = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            words = f"{' '.join(command)} ended with {process.returncode}: {errors.read()[-LAST_WORDS:]}"
            raise RuntimeError(words)
    return Spent(cpu=used.ru_utime + used.ru_stime, elapsed=time.monotonic() - began, memory=peak)


def _peak_of(process: int) -> float:
    """A live process's peak in bytes: `wait4` would count the one it was forked from as well."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(encoding="ascii"))
    return int(found[1]) * 1024.0 if found else 0.0
