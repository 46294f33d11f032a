"""The command line: `python -m tests.crash --help`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.crash.campaign import campaign
from tests.crash.judge import Law, snapshot_refusals
from tests.crash.outcome import Orders, Outcome
from tests.crash.planted import PLANTED
from tests.crash.sharing import Shared, all_came_to_their_end, share
from tests.support.postgres import new_database, server
from tests.support.server_log import creations

STORES = ("sqlite", "postgres")
SHOWN = 12
"""Violations that are printed in full."""

SHARING_PERIOD = 7.0
"""Seconds: with a shorter one, ten processes a core spend their time on looking at the store."""

MOST = 1.06
"""The longest that processes may take to share an organization's snapshots, as a multiple of the bound."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns, print the table; 1 when a law was broken."""
    options = _parser().parse_args(arguments)
    names = STORES if options.store == "both" else (options.store,)
    with contextlib.ExitStack() as stack:
        places = {name: stack.enter_context(_place(name)) for name in names}
        outcomes = {name: _campaign(place, options) for name, place in places.items()}
        shared = (
            [one for name, place in places.items() for one in _shared(name, place)] if options.share else []
        )
    told = [_table(outcomes), *_shares(shared)]
    troubles = [trouble for name, outcome in outcomes.items() for trouble in _troubles(name, outcome)]
    troubles += [f"{one.name}: {one.trouble}" for one in shared if one.trouble]
    verdict = "BROKEN: see above" if troubles else "every promise was kept"
    sys.stdout.write("\n".join([*told, *troubles, verdict, ""]))
    return 1 if troubles else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A kind of store: a new one for each name, and a folder for everything else."""

    folder: Path
    new: Callable[[str], str]


@contextlib.contextmanager
def _place(name: str) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True) as root:
        folder = Path(root)
        if name == "sqlite":
            yield Place(folder=folder, new=lambda store: f"sqlite:///{folder}/{store}.db")
            return
        with server() as url:
            yield Place(folder=folder, new=lambda store: new_database(url, store))


def _campaign(place: Place, options: argparse.Namespace) -> Outcome:
    return campaign(
        Orders(
            store=place.new("crash"),
            folder=place.folder,
            workers=options.workers,
            kills=options.kills,
            per_point=options.per_point,
            seed=options.seed,
            planted=options.planted,
            longest=options.longest,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many processes at one organization's snapshots, on one store."""

    name: str
    processes: int
    shared: Shared

    @property
    def trouble(self) -> str:
        """What is wrong with it."""
        shared, refused = self.shared, len(snapshot_refusals(self.shared.log))
        made = len(creations(shared.log))
        if shared.ratio <= MOST and not refused and made == shared.tests and all_came_to_their_end(shared):
            return ""
        return f"{self.processes} processes: {shared.ratio:.4f} of the bound, {refused} refusals, {made} made"


def _shared(name: str, place: Place) -> list[Share]:
    """Two processes and eight, each at an organization of their own."""

    def one(processes: int) -> Share:
        store, folder = place.new(f"share{processes}"), place.folder / f"share{processes}"
        folder.mkdir()
        shared = share(store, folder, processes=processes, period=SHARING_PERIOD)
        return Share(name=name, processes=processes, shared=shared)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, (2, 8)))


def _shares(shared: Sequence[Share]) -> list[str]:
    return [
        f"{one.name}: {one.processes} processes share {one.shared.tests} snapshots of one organization in "
        f"{one.shared.ratio:.4f} of the bound, {len(snapshot_refusals(one.shared.log))} refusals"
        for one in shared
    ]


def _troubles(name: str, outcome: Outcome) -> list[str]:
    shown = [f"{name}: {violation.law}: {violation.text}" for violation in outcome.violations[:SHOWN]]
    return [*shown, *(f"{name}: too few kills at this moment: {moment}" for moment in outcome.missing)]


def _table(outcomes: dict[str, Outcome]) -> str:
    """One column for each store."""
    columns = [_figures(outcome) for outcome in outcomes.values()]
    width = max(len(name) for name, _ in columns[0]) + 2
    lines = ["".join(["".ljust(width), *(name.rjust(10) for name in outcomes)])]
    for at, (name, _) in enumerate(columns[0]):
        lines.append("".join([name.ljust(width), *(str(column[at][1]).rjust(10) for column in columns)]))
    return "\n".join(lines)


def _figures(outcome: Outcome) -> list[tuple[str, object]]:
    laws = Counter(violation.law for violation in outcome.violations)
    made = sum(entry.counted for entry in outcome.seen.log)
    return [
        ("workers at a time", outcome.orders.workers),
        ("processes started", outcome.starts),
        ("kill -9, all in all", outcome.at_random + sum(outcome.at_points.values())),
        ("kill -9 at random", outcome.at_random),
        *((f"kill -9 at {point.words}", times) for point, times in outcome.at_points.items()),
        ("runs", len(outcome.seen.plans)),
        ("tasks", len(outcome.results)),
        ("snapshots made", made),
        ("uncertain in the end", outcome.uncertain),
        ("lost answers found", outcome.found),
        ("refusals (429) of snapshots", outcome.refusals),
        ("refusals (429) of the general limit", outcome.general),
        ("most in any window", outcome.busiest),
        *((law.value, laws[law]) for law in Law),
        ("seconds", round(outcome.seconds)),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    add = parser.add_argument
    add("--store", choices=[*STORES, "both"], default="both")
    add("--workers", type=int, default=12, help="processes at a time")
    add("--kills", type=int, default=300, help="at random moments, on each store")
    add("--per-point", type=int, default=20, help="kills at each numbered point, on each store")
    add("--seed", type=int, default=0)
    add("--longest", type=float, default=300.0, help="seconds of killing on each store, at the most")
    add(
        "--share",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure 2 and 8 processes at one run",
    )
    add("--planted", choices=PLANTED, help="a bug on purpose: the judge has to see it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
