"""The file of a SQLite store, renamed, removed, emptied, cut or put back older: `python -m tests.chaos.store_files`.

Each round is a job of ten snapshots, given to the command line. At a random moment its process is killed, or left
alive; then something is done to the store's file, and the same command is given again. The server's record is judged:
never more than five in a window, everything made twice is marked, the old process ends with 5. In some rounds nothing
is done but a kill: then nothing may be said to be lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from orchestrator.simulator import LoggedRequest, example_world
from tests.crash.judge import busiest
from tests.crash.server import simulator
from tests.support.server_log import find_duplicates, read_log, refusals

PERIOD, TIMEOUT, GRACE = 3.0, 3.0, 2.0
"""The documented limit's figures, faster; with room for a busy machine."""

SNAPSHOTS = 10

PATIENCE = 300.0
"""Real seconds after which a process that has not ended is stuck."""

GONE = "while this process had it open"
LOST = "the store is not what it was"
"""What the program says."""

Deed = Callable[[Path], None]


def let_be(store: Path) -> None:
    """Do nothing: no loss may be found."""


def rename_it(store: Path) -> None:
    """Rename the store's file alone."""
    store.rename(f"{store}.old")


def rename_all(store: Path) -> None:
    """Rename it with its log and its shared memory."""
    for name in ("", "-wal", "-shm"):
        if Path(f"{store}{name}").exists():
            Path(f"{store}{name}").rename(f"{store}.old{name}")


def remove_all(store: Path) -> None:
    """Remove all three."""
    for name in ("", "-wal", "-shm"):
        Path(f"{store}{name}").unlink(missing_ok=True)


def remove_log(store: Path) -> None:
    """Remove the log alone."""
    Path(f"{store}-wal").unlink(missing_ok=True)


def clear_log(store: Path) -> None:
    """Write zeros over the log."""
    log = Path(f"{store}-wal")
    if log.exists():
        log.write_bytes(bytes(log.stat().st_size))


def cut_log(store: Path) -> None:
    """Keep a half of the log."""
    log = Path(f"{store}-wal")
    if log.exists():
        os.truncate(log, log.stat().st_size // 2)


def empty_it(store: Path) -> None:
    """Keep nothing of the file."""
    os.truncate(store, 0)


def put_back_older(store: Path) -> None:
    """Have it as it was when it was new."""
    remove_all(store)
    shutil.copy(f"{store}.early", store)


HARMLESS: tuple[Deed, ...] = (let_be,)

UNDER_A_PROCESS: tuple[Deed, ...] = (rename_it, rename_all, remove_all, put_back_older)

AFTER_A_KILL: tuple[Deed, ...] = (
    rename_it,
    rename_all,
    remove_all,
    remove_log,
    clear_log,
    cut_log,
    empty_it,
    put_back_older,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of the command line that has ended."""

    code: int
    records: Sequence[Mapping[str, object]]
    said: str

    def marked(self) -> set[object]:
        """The tests whose snapshots it said may exist twice."""
        return {one.get("test_id") for one in self.records if one.get("duplicate_possible")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What was done, to a process that was killed before or not, and what came of it."""

    deed: str
    killed: bool
    first: Start
    second: Start
    log: Sequence[LoggedRequest]

    def breaches(self) -> Iterator[str]:
        """Every promise that was broken."""
        most = busiest(self.log, PERIOD)
        if most > 5 or refusals(self.log):
            yield f"{most} in a window, {len(refusals(self.log))} refused"
        twice = {wanted[2] for wanted in find_duplicates(self.log)}
        if unsaid := twice - self.first.marked() - self.second.marked():
            yield f"{len(unsaid)} made twice unsaid"
        if self.second.code != 0 and not (self.killed and self.second.code == 3):
            yield f"the second command ended with {self.second.code}: {self.second.said[-300:]}"
        if self.deed == let_be.__name__ and (LOST in self.second.said or GONE in self.first.said):
            yield f"nothing was done, and a loss was found: {self.second.said[:400]}"
        if not self.killed and self.deed != let_be.__name__ and self.first.code not in (0, 5):
            yield f"the first process ended with {self.first.code}: {self.first.said[-300:]}"
        if not self.killed and self.first.code == 5 and GONE not in self.first.said:
            yield f"the first process did not say why it stopped: {self.first.said[-300:]}"


def play(folder: Path, seed: int, *, harmless: bool) -> Round:
    """One round, in a folder of its own."""
    draw = random.Random(seed)
    killed = harmless or draw.random() < 0.6
    deed = draw.choice(HARMLESS if harmless else AFTER_A_KILL if killed else UNDER_A_PROCESS)
    store, log = folder / "store.db", folder / "server.jsonl"
    with simulator(log, organizations=1, tests=SNAPSHOTS, faults="", period=PERIOD, seed=seed) as base_url:
        (folder / "jobs.yaml").write_text(_jobs(base_url))
        first = _begin(folder, "first")
        _wait_for(lambda: bool(_snapshots(log)), first)
        shutil.copy(store, f"{store}.early")
        time.sleep(draw.uniform(0.0, 2.0 * PERIOD))
        if killed:
            first.kill()
            first.wait()
        deed(store)
        second = _begin(folder, "second")
        ended = [_end(folder, "first", first), _end(folder, "second", second)]
    return Round(deed=deed.__name__, killed=killed, first=ended[0], second=ended[1], log=read_log(log))


def _snapshots(log: Path) -> list[LoggedRequest]:
    return [entry for entry in read_log(log) if entry.method == "POST"] if log.exists() else []


def _wait_for(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while not true() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def _begin(folder: Path, name: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        "run",
        folder / "jobs.yaml",
        "--store",
        folder / "store.db",
    ]
    command += ["--per", f"{PERIOD:g}s", "--guard", "10ms", "--grace", f"{GRACE:g}s"]
    command += ["--timeout", f"{TIMEOUT:g}s", "--format", "jsonl"]
    environ = {**os.environ, "ACME_TOKEN": "token-1"}
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        return subprocess.Popen(list(map(str, command)), stdout=out, stderr=err, env=environ)


def _end(folder: Path, name: str, process: subprocess.Popen[bytes]) -> Start:
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
    lines = (folder / f"{name}.out").read_text().splitlines(keepends=True)
    return Start(
        code=process.returncode,
        records=[json.loads(line) for line in lines if line.endswith("\n")],
        said=(folder / f"{name}.err").read_text(),
    )


def _jobs(base_url: str) -> str:
    ids = [test.test_id for test in example_world(1, SNAPSHOTS).organizations[0].account_groups[0].tests]
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    return f"""\
version: 1
name: night
organizations: {{acme: {{token_env: ACME_TOKEN, base_url: "{base_url}"}}}}
jobs:
  - name: checkout
    organization: acme
    tests: [{", ".join(f"'{one}'" for one in ids)}]
    windows: [{{start: "{day}T10:00:00Z", end: "{day}T11:00:00Z"}}]
"""


def play_all(rounds: int, *, seed: int, workers: int, harmless: float = 0.25) -> list[Round]:
    """So many rounds, some at a time; a share of them is harmless."""

    def one(number: int) -> Round:
        with tempfile.TemporaryDirectory(prefix="store-files-", ignore_cleanup_errors=True) as folder:
            return play(Path(folder), seed + number, harmless=number < rounds * harmless)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(rounds)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the rounds, print the counts; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.store_files", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how many [40]")
    parser.add_argument("--seed", type=int, default=0, help="other moments and deeds [0]")
    parser.add_argument("--workers", type=int, default=4, help="rounds at a time [4]")
    parser.add_argument(
        "--harmless", type=float, default=0.25, help="the share in which nothing is done [0.25]"
    )
    options = parser.parse_args(arguments)
    rounds = play_all(options.rounds, seed=options.seed, workers=options.workers, harmless=options.harmless)
    counts = Counter((one.deed, one.killed) for one in rounds)
    noticed = Counter((one.deed, one.killed) for one in rounds if LOST in one.second.said)
    for (deed, killed), number in sorted(counts.items()):
        when = "after kill -9" if killed else "under a process"
        sys.stdout.write(
            f"{deed.replace('_', ' '):16} {when:16} {number:4}   noticed {noticed[deed, killed]:4}\n"
        )
    broken = [f"{one.deed}: {breach}" for one in rounds for breach in one.breaches()]
    sys.stdout.write("\n".join([*broken, "BROKEN: see above" if broken else "every promise was kept", ""]))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
