"""Sharing the limit with somebody this store cannot see: what each side gets, for `use` 1 to 5.

`python -m benchmarks.foreign` prints the table of docs/sharing.md: in virtual time 120 snapshots of one
organization, while a foreign client asks for 1 to 5 snapshots a period at random moments.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.core.jobs import Limit
from orchestrator.simulator import FaultPlan
from tests.support.server_log import refusals
from tests.support.virtual import Stage

SNAPSHOTS = 120
SEED = 3


def row(share: int, use: int, folder: Path) -> str:
    """One line: our rate, our refusals, and how much of what the foreign client asked for it got."""
    faults = FaultPlan(foreign_rate=share / 300)
    stage = Stage(
        folder / f"{share}-{use}.db", tests=SNAPSHOTS, limit=Limit(use=use), faults=faults, seed=SEED
    )
    ending, _ = stage.run(stage.jobfile(SNAPSHOTS))
    stage.close()
    hours = ending.seconds / 3600
    asked = len(stage.simulator.foreign_uses)
    got = sum(1 for _, _, served in stage.simulator.foreign_uses if served)
    ours = ending.counts.created / hours
    refused = len(refusals(stage.simulator.log)) / hours
    share_of_all = ending.counts.created / (ending.counts.created + got)
    return f"| {share} | {use} | {ours:.1f} | {refused:.1f} | {share_of_all:.0%} | {got} of {asked} |"


def main() -> None:
    """Print the table."""
    print("| foreign asks a period | `use` | ours an hour | our refusals an hour | our share | foreign got |")
    print("|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        for share in range(1, 6):
            for use in range(1, 6):
                print(row(share, use, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
