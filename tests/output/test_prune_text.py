"""What is said before runs are forgotten, and after it."""

from __future__ import annotations

from datetime import UTC

import pytest

from orchestrator.core import Counts, Run
from orchestrator.output.prune_text import forgotten_lines, forgotten_text, old_runs_lines, size_text
from orchestrator.store import Forgotten, RunSummary, Size

NOW = 1_794_990_000.0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (1_572_700_000, "1.6 GB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_a_size_is_said_by_thousands(size: int, text: str) -> None:
    """As disks are sold."""
    assert size_text(size) == text


def test_the_runs_are_summed_up_by_job() -> None:
    """With the first and the last of each, and what stays of them."""
    old = [
        RunSummary(
            run=Run(id=f"r{number}", job=job, created_at=NOW - days * 86_400, tasks=10),
            total=Counts(created=10 - uncertain, uncertain=uncertain),
        )
        for number, (job, days, uncertain) in enumerate([("b", 500, 0), ("a", 450, 1), ("b", 420, 0)])
    ]
    assert list(old_runs_lines(old, NOW - 400 * 86_400, NOW, UTC)) == [
        "3 runs of 30 snapshots began before 14 Oct 2025 08:20 UTC, are over, and will be forgotten:",
        "  a: 1 run of 10 snapshots, 25 Aug 2025 08:20 UTC",
        "  b: 2 runs of 20 snapshots, 6 Jul 2025 08:20 UTC to 24 Sep 2025 08:20 UTC",
        "1 snapshot is uncertain and stays with its run: `tesnap settle RUN`",
    ]
    (nothing,) = old_runs_lines([], NOW, NOW, UTC)
    assert nothing == "nothing to forget: no run that is over, and that nothing needs, began before 08:20 UTC"


def test_each_part_of_what_was_forgotten_is_said_where_there_is_any() -> None:
    """And nothing of the others."""
    assert forgotten_text(Forgotten(runs=1, tasks=2)) == "1 run, 2 snapshots"
    text = forgotten_text(Forgotten(runs=2, tasks=9, stubs=3, private=1, kept=1))
    assert text.split("; ")[1:] == [
        "3 of them may exist still: key and name stay, so that none is made again unsaid",
        "1 private snapshot may exist still and would be made again",
        "left, as uncertain or changed since: 1 snapshot",
    ]


def test_the_room_is_said_with_the_reason_why_it_did_not_become_smaller() -> None:
    """Where there is one."""
    full, free, small = Size(2_000_000), Size(2_000_000, 1_500_000), Size(600_000)
    one = Forgotten(runs=1)
    assert list(forgotten_lines(one, full, small, ""))[1:] == ["the store took 2.0 MB and takes 600.0 kB now"]
    assert list(forgotten_lines(one, full, free, "processes are at work on it"))[1:] == [
        "the store takes 2.0 MB, of which 1.5 MB are free for what comes",
        "it did not become smaller: processes are at work on it",
    ]
