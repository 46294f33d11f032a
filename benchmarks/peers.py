"""The command beside what people write or take instead: one organization, over HTTP, at a period that is scaled.

Each client gets the same work: one process; with slower answers; two processes at once; killed half-way and started
again; with answers that are lost. What the server counted is what stands here.

`python -m benchmarks.peers PYTHON docs/benchmarks.md` writes the table; PYTHON is an interpreter with benchmarks/peers.txt.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.clients import CLIENTS, Work
from benchmarks.probe import ROOT
from benchmarks.server import FIRST_TEST, Count, Settings, counted, served, token_of
from benchmarks.whole import spend

LIMIT, PERIOD, TASKS = 5, 3.0, 20
BOUND = (TASKS - 1) // LIMIT * PERIOD
"""From the first to the last counted request, at least."""

LONGEST = 8 * BOUND
"""Seconds after which a client is given up."""

POLL = 0.05
FEW, MANY = 20, 420
"""Snapshots of the two sizes between which CPU is a slope, with a limit that holds nobody up."""

AT_ONCE = 3
"""Cases of one client that are run side by side: all of them mostly wait."""

Pace = tuple[int, float]
"""A limit and its period."""

UNLIMITED: Pace = (1_000, 1.0)
"""Holds nobody up who keeps a log or a count of its requests."""

QUICK: Pace = (LIMIT, 0.01)
"""The same for the command, which has a row for each slot."""

BEGIN, END = "<!-- peers: written by make bench -->", "<!-- end of peers -->"
COLUMNS = (
    "client",
    "makespan over the bound: 20 ± 10 ms",
    "200 ± 150 ms",
    "refused: one process",
    "200 ± 150 ms",
    "two processes",
    "killed half-way: refused, made twice, not made",
    "a tenth of the answers lost: made twice, not made",
    "CPU for each",
    "peak memory",
)

Command = Callable[[Work], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What happens to a client."""

    latency: float = 0.02
    spread: float = 0.01
    lost: float = 0.0
    processes: int = 1
    killed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the server saw of a client's work, and if the client came to an end."""

    count: Count
    ended: bool

    @property
    def makespan(self) -> str:
        """How many times as long as the shortest it took."""
        made_all = self.ended and not self.missing
        return f"{(self.count.last - self.count.first) / BOUND:.2f}" if made_all else "not all made"

    @property
    def missing(self) -> int:
        """Snapshots that were never made."""
        return TASKS - (self.count.created - self.count.twice)


CASES: dict[str, Case] = {
    "plain": Case(),
    "slow": Case(latency=0.2, spread=0.15),
    "two": Case(processes=2),
    "killed": Case(killed=True),
    "lost": Case(lost=0.1),
}


def table(python: Path) -> Iterator[str]:
    """The lines of the table, as they are measured; `python` has the libraries of the peers."""
    yield _line(COLUMNS)
    yield _line(["---", *["---:"] * (len(COLUMNS) - 1)])
    yield _measure("tesnap", tesnap_command, QUICK)
    for name in CLIENTS:
        yield _measure(name, _peer(python, name), UNLIMITED)


def _peer(python: Path, name: str) -> Command:
    return lambda work: [f"{python}", "-m", "benchmarks.clients", name, json.dumps(asdict(work))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measure(name: str, command: Command, pace: Pace) -> str:
    """A client's line: all cases, then what a snapshot costs it."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = pool.map(partial(run_case, command), CASES.values())
        seen = dict(zip(CASES, outcomes, strict=True))
    plain, slow, killed, lost = (seen[words] for words in ("plain", "slow", "killed", "lost"))
    refused = [str(seen[words].count.refused) for words in ("plain", "slow", "two")]
    after = f"{killed.count.refused}, {killed.count.twice}, {killed.missing}"
    cells = [name, plain.makespan, slow.makespan, *refused, after, f"{lost.count.twice}, {lost.missing}"]
    return _line([*cells, *_cost(command, pace)])


def run_case(command: Command, case: Case) -> Outcome:
    """One client's work against a server of its own."""
    settings = Settings(
        tests=TASKS, latency=case.latency, spread=case.spread, limit=LIMIT, per=PERIOD, lost=case.lost
    )
    with served(settings) as origin, TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder:
        work = Work(origin=origin, folder=folder, tasks=TASKS, limit=LIMIT, per=PERIOD, of=case.processes)
        shares = [command(replace(work, share=share)) for share in range(case.processes)]
        processes = [_start(share) for share in shares]
        if case.killed:
            _wait_until(lambda: counted(origin).created >= TASKS // 2)
            _kill(processes.pop())
            processes.append(_start(shares[0]))
        ended = _wait_until(lambda: all(process.poll() is not None for process in processes))
        for process in processes:
            _kill(process)
        return Outcome(count=counted(origin), ended=ended)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A client in a group of its own, so that what it starts ends with it."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(  # noqa: S603 - the words are ours
        command, cwd=ROOT, env=_environment(), stdout=quiet, stderr=quiet, start_new_session=True
    )


def _environment() -> dict[str, str]:
    return {
        name: text for name, text in os.environ.items() if not name.startswith(("TE_", "TESNAP_", "PYTHON"))
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # all of it has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until(true: Callable[[], bool]) -> bool:
    """Wait for something, for so long at most; True if it came."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(POLL)
    return False


def _cost(command: Command, pace: Pace) -> tuple[str, str]:
    """CPU for each further snapshot, and the memory of the larger size."""
    few, many = (_spend(command, pace, tasks) for tasks in (FEW, MANY))
    return f"{(many[0] - few[0]) / (MANY - FEW) * 1000:.2f} ms", f"{many[1] / 1e6:.0f} MB"


def _spend(command: Command, pace: Pace, tasks: int) -> tuple[float, float]:
    with (
        served(Settings(tests=tasks)) as origin,
        TemporaryDirectory(dir=Path.cwd(), prefix="bench-") as folder,
    ):
        limit, per = pace
        work = Work(origin=origin, folder=folder, tasks=tasks, limit=limit, per=per)
        spent = spend(command(work), ROOT)
        made = counted(origin).created
    if made != tasks:
        raise RuntimeError(f"{made} snapshots were made, not {tasks}")
    return spent.cpu, spent.memory


def tesnap_command(work: Work) -> Sequence[str]:
    """The command; its processes serve one run in one store."""
    folder = Path(work.folder)
    (folder / "token").write_text(token_of(1))
    tests = ", ".join(f'"{FIRST_TEST + number}"' for number in range(work.tasks))
    limit = f"{{snapshots: {work.limit}, use: {work.limit}, per: {work.per * 1000:.0f}ms, guard: 10ms, grace: 2s}}"
    (folder / "jobs.yaml").write_text(
        "version: 1\nname: nightly\nhttp: {timeout: 2s}\n"
        f"organizations: {{acme: {{token_file: '{folder}/token', base_url: '{work.origin}/v7', limit: {limit}}}}}\n"
        f"jobs: [{{name: all, tests: [{tests}], windows: [{{start: 2026-11-20T14:00:00Z, duration: 1h}}]}}]\n"
    )
    options = ["--run-id", "bench", "--store", f"sqlite:///{folder}/store.db", "--json"]
    return [sys.executable, "-m", "orchestrator", "run", f"{folder}/jobs.yaml", *options]


def main() -> None:
    """Print the table, and write it into a document, between the marks that are there for it."""
    python, document = map(Path, sys.argv[1:])
    lines = []
    for line in table(python):
        lines.append(line)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    before, _, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = "\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"])
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
