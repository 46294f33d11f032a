"""The command line: `python -m tests.crash --help`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.crash.campaign import Campaign, Orders, Outcome, campaign, found, uncertain
from tests.crash.judge import Law
from tests.crash.planted import PLANTED
from tests.support.postgres import new_database, server

STORES = ("sqlite", "postgres")
SHOWN = 12
"""Violations that are printed in full."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns, print the table; 1 when a law was broken."""
    options = _parser().parse_args(arguments)
    stores = STORES if options.store == "both" else (options.store,)
    outcomes = {name: _one(name, options) for name in stores}
    print(_table(outcomes))
    for name, outcome in outcomes.items():
        for violation in outcome.violations[:SHOWN]:
            print(f"{name}: {violation.law}: {violation.text}")
        for moment in outcome.missing:
            print(f"{name}: too few kills at this moment: {moment}")
    broken = any(outcome.violations or outcome.missing for outcome in outcomes.values())
    print("BROKEN: see above" if broken else "every promise was kept")
    return 1 if broken else 0


def _one(name: str, options: argparse.Namespace) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True, **({"delete": False} if sys.version_info >= (3, 12) else {})) as folder, _store(name, Path(folder)) as url:
        return campaign(
            Orders(
                store=url,
                folder=Path(folder),
                workers=options.workers,
                kills=options.kills,
                per_point=options.per_point,
                seed=options.seed,
                planted=options.planted,
                longest=options.longest,
            )
        )


@contextlib.contextmanager
def _store(name: str, folder: Path) -> Iterator[str]:
    """A new store."""
    if name == "sqlite":
        yield f"sqlite:///{folder}/store.db"
        return
    with server() as url:
        yield new_database(url, "crash")


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
        ("kill -9 at random", outcome.at_random),
        *((f"kill -9 at {point.words}", times) for point, times in outcome.at_points.items()),
        ("runs", len(outcome.seen.plans)),
        ("tasks", len(outcome.results)),
        ("snapshots made", made),
        ("uncertain in the end", uncertain(outcome.results)),
        ("lost answers found", found(outcome.results)),
        ("refusals (429)", outcome.refusals),
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
    add("--longest", type=float, default=130.0, help="seconds of killing on each store, at the most")
    add("--planted", choices=PLANTED, help="a bug on purpose: the judge has to see it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
