"""The command line: `python -m tests.chaos --help`."""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.clock import SystemClock
from orchestrator.store.store import open_store
from tests.chaos.crews import CREWS, Crews
from tests.chaos.troubles import Troubles, owners_of, run_gateway
from tests.chaos.verdict import Breach, Promise, find_breaches, find_untrue, most_requests
from tests.crash.load import LIMIT, PERIOD, TIMEOUT, world_size
from tests.crash.server import simulator
from tests.support.postgres import Server, new_database, own_server
from tests.support.server_log import creations, find_duplicates, read_log, refusals

STORES = ("sqlite", "postgres")

FAULTS = (
    "foreign=0.02,reset-before=0.01,reset-after=0.01,502-after=0.01,503=0.02,html=0.01,"
    "cut-head=0.01,cut-body=0.01,hang=0.01"
)
"""What the server itself does wrong, as shares of the requests for snapshots; `foreign` is somebody else."""

LOOK = 0.02
"""Seconds between two looks at the processes."""

TAIL = 300.0
"""Seconds in which everything has to end once all is let be: as many periods as an unlucky organization needs."""

SHOWN = 12
"""Breaches that are printed in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The figures of one store and the promises that were broken on it."""

    figures: list[tuple[str, object]]
    breaches: list[Breach]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A store, a folder for everything else, and the database's server if there is one."""

    store: str
    folder: Path
    server: Server | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Make chaos on each store, print the counts; 1 when a promise was broken."""
    options = _parser().parse_args(arguments)
    names = STORES if options.store == "both" else (options.store,)
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(len(names)) as pool:
        places = [stack.enter_context(_place(name)) for name in names]
        ended = list(pool.map(lambda place: _make_chaos(place, options), places))
    sys.stdout.write(_table(names, ended))
    broken = [(name, breach) for name, one in zip(names, ended, strict=True) for breach in one.breaches]
    for name, breach in broken[:SHOWN]:
        sys.stdout.write(f"{name}: {breach.promise}: {breach.text}\n")
    sys.stdout.write("BROKEN: see above\n" if broken else "every promise was kept\n")
    return 1 if broken else 0


@contextlib.contextmanager
def _place(name: str) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as root:
        folder = Path(root)
        if name == "sqlite":
            yield Place(store=f"sqlite:///{folder}/store.db", folder=folder)
            return
        with own_server() as server:
            yield Place(store=new_database(server.url, "chaos"), folder=folder, server=server)


def _make_chaos(place: Place, options: argparse.Namespace) -> Ended:
    began = time.monotonic()
    log = place.folder / "server.jsonl"
    with (
        simulator(log, organizations=world_size(CREWS), seed=options.seed, faults=FAULTS) as api,
        run_gateway(api) as (base_url, turn),
    ):
        crews = Crews(folder=place.folder, store=place.store, base_url=base_url)
        troubles = Troubles(
            crews=crews,
            draw=random.Random(options.seed),
            turn_network=turn,
            owners=owners_of(place.store) if place.server is None else None,
            server=place.server,
            database=place.store,
        )
        try:
            _fight(crews, troubles, options.minutes * 60)
            endless = list(crews.unfinished())
        finally:
            crews.stop()
        time.sleep(TIMEOUT)  # what was sent last may still be answered
    return _judge(place, crews, troubles, endless, time.monotonic() - began)


def _fight(crews: Crews, troubles: Troubles, seconds: float) -> None:
    """Make troubles for so many seconds, then let everything be until all has ended."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        crews.tend(fresh=True)
        troubles.make(now)
        time.sleep(LOOK)
    troubles.end()
    while crews.at_work and time.monotonic() < end + TAIL:
        crews.tend(fresh=False)
        time.sleep(LOOK)


def _judge(place: Place, crews: Crews, troubles: Troubles, endless: list[str], seconds: float) -> Ended:
    log = read_log(place.folder / "server.jsonl")
    store = open_store(place.store, clock=SystemClock())
    try:
        known = {view.run.id for view in store.history.runs()}
        results = {run: list(store.views.results(run)) for run in crews.plans if run in known}
    finally:
        store.close()
    tasks = {result.task.key: result for found in results.values() for result in found}
    breaches = list(find_breaches(log, results, crews.plans, limit=LIMIT.snapshots, period=PERIOD))
    made = {result.snapshot.id: result for result in tasks.values() if result.snapshot is not None}
    breaches += [breach for _, output in crews.outputs for breach in find_untrue(output, made)]
    breaches += [Breach(promise=Promise.ENDLESS, text=text) for text in endless]
    breaches += [Breach(promise=Promise.BROKEN, text=text) for text in crews.broken]
    broken = Counter(breach.promise for breach in breaches)
    figures: list[tuple[str, object]] = [
        ("processes started", len(crews.outputs)),
        *sorted(troubles.counts.items()),
        *((f"ended with {code}", times) for code, times in sorted(crews.codes.items())),
        ("runs", len(crews.plans)),
        ("tasks", len(tasks)),
        ("snapshots made", len(creations(log))),
        ("uncertain in the end", sum(result.status == "uncertain" for result in tasks.values())),
        ("found by their saved event", sum(result.found is not None for result in tasks.values())),
        ("made twice, and said so", len(find_duplicates(log)) - broken[Promise.TWICE]),
        ("refusals (429)", len(refusals(log))),
        ("most requests in any window", most_requests(log, PERIOD)),
        *((promise.value, broken[promise]) for promise in Promise),
        ("seconds", round(seconds)),
    ]
    return Ended(figures=figures, breaches=breaches)


def _table(names: Sequence[str], ended: Sequence[Ended]) -> str:
    """One column for each store."""
    columns = [dict(one.figures) for one in ended]
    rows = list(dict.fromkeys(name for one in ended for name, _ in one.figures))
    width = max(map(len, rows)) + 2
    lines = ["".join(["".ljust(width), *(name.rjust(10) for name in names)])]
    lines += [
        "".join([row.ljust(width), *(str(column.get(row, "-")).rjust(10) for column in columns)])
        for row in rows
    ]
    return "\n".join([*lines, ""])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    add = parser.add_argument
    add("--store", choices=[*STORES, "both"], default="both")
    add("--minutes", type=float, default=10.0, help="of troubles on each store, both at once")
    add("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
